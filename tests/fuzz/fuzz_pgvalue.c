// SPDX-License-Identifier: MIT
// A value's text of any form under any type: u8 type, u8 numbers, the text. What comes out is one JSON
// value, not much longer than the text, and for text that is its type's own form more than a string.
#include "base/json.h"
#include "base/limits.h"
#include "types.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOOD = 20000, MOODS, PRICES, PAIRS, IDS, IDSES, DOCS };

static Types *every_type(void)
{
        Types *t = types_new();

        assert(t);
        bool known =
                types_learn(t, MOOD, 0, 0, ',') == 0 && types_learn(t, MOODS, 0, MOOD, ',') == 0 &&
                types_learn(t, PRICES, 0, 1700, ',') == 0 &&
                types_learn(t, PAIRS, 0, 2249, ';') == 0 &&
                types_learn(t, IDS, 1007, 0, ',') == 0 && types_learn(t, IDSES, 0, IDS, ',') == 0 &&
                types_learn(t, DOCS, 0, 3802, ',') == 0;
        assert(known);
        return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const uint32_t oids[] = {16, 17, 20, 21, 23, 25, 114, 600, 700, 701, 1000, 1001,
                1007, 1009, 1016, 1020, 1114, 1184, 1185, 1186, 1231, 1700, 3802, 3807, 3904, MOOD,
                MOODS, PRICES, PAIRS, IDS, IDSES, DOCS};

        if (size < 2)
                return 0;
        Types *t = every_type();
        const ValueType *type = types_find(t, oids[data[0] % N_ELEMENTS(oids)]);
        assert(type);
        // A block of just that size, so that a look beyond it is seen.
        Slice text = slice_mem(data + 2, size - 2);
        _cleanup_(buf_deinitp) Buf out = BUF_INIT(64 << 20);
        value_write(&out, type, text, data[1] & 1);
        assert(out.error == 0 && out.len >= 1 && out.len <= 12 * text.len + 16);
        assert(json_check(buf_slice(&out), LIMIT_JSON_DEPTH, NULL) == 0);
        types_free(t);
        return 0;
}
