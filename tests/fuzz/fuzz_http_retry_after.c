// SPDX-License-Identifier: MIT
// First byte 0: a status line; else a Retry-After value, seen at a time taken from the next four
// bytes. Whatever an endpoint says, it waits an hour at most, and a date that parses is one.
#include "base/clock.h"
#include "base/wire.h"
#include "response.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        WireReader r = wire_reader(slice_mem(data, size));
        uint8_t kind = wire_u8(&r);

        if (kind == 0) {
                unsigned status = response_status_parse(wire_raw(&r, r.left));
                assert(status <= 999);
                VerdictClass k = response_class(status);
                assert(k >= 0 && k < _VERDICT_CLASS_MAX);
                return 0;
        }
        uint64_t now = wire_u32(&r);
        Slice value = wire_raw(&r, r.left);
        if (r.bad)
                return 0;
        assert(retry_after_parse(value, now * USEC_PER_SEC) <= RETRY_AFTER_MAX_SEC * USEC_PER_SEC);
        int64_t when = INT64_MIN;
        if (http_date_parse(value, (int64_t)now, &when) == 0)
                assert(when > INT64_C(-62200000000) &&
                        when < INT64_C(253402387200)); // years 0 to 9999
        else
                assert(when == INT64_MIN);
        return 0;
}
