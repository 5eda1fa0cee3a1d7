// SPDX-License-Identifier: MIT
// First byte 0: the text of a key, which may be anything. Else the three headers and the body as a
// receiver gets them: nothing made up may verify, and what was signed by us must.
#include "base/wire.h"
#include "event/signature.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static SignatureKey *keys[2];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        WireReader r = wire_reader(slice_mem(data, size));
        uint8_t kind = wire_u8(&r);

        if (!keys[0]) {
                Slice mac = SLICE_LIT("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
                Slice pair = SLICE_LIT("whsk_6Xb/dCcHpPea21PS1N9VY/"
                                       "NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lM"
                                       "icMFs6Kvg==");
                assert(signature_key_new(&keys[0], mac, NULL) == 0);
                assert(signature_key_new(&keys[1], pair, NULL) == 0);
        }
        if (kind == 0) {
                SignatureKey *k = NULL;
                if (signature_key_new(&k, wire_raw(&r, r.left), NULL) == 0)
                        assert(k);
                else
                        assert(!k);
                signature_key_free(k);
                return 0;
        }
        Slice id = wire_raw(&r, wire_u8(&r)), timestamp = wire_raw(&r, wire_u8(&r));
        Slice header = wire_raw(&r, wire_u16(&r)), body = wire_raw(&r, r.left);
        if (r.bad)
                return 0;
        int v = signature_verify(keys, 2, id, timestamp, header, body, 1000, kind & 1 ? 300 : 0);
        assert(v != SIGNATURE_VALID && v >= 0 && v < _SIGNATURE_RESULT_MAX);

        _cleanup_(buf_deinitp) Buf made = BUF_INIT(4096);
        if (signature_sign(keys, 1 + (kind & 1), id, 1000, body, &made) == 0)
                assert(signature_verify(keys, 2, id, SLICE_LIT("1000"), buf_slice(&made), body,
                               1000, 1) == SIGNATURE_VALID);
        return 0;
}
