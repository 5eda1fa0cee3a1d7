// SPDX-License-Identifier: MIT
// Any text is refused with a place inside it, or runs over a record and gives valid JSON; twice the
// same. Two compilations: against field tables and with nothing declared.
#include "base/json.h"
#include "base/limits.h"
#include "rule/expression.h"
#include "../unit/rule_fixture.h"
#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_run(Expression *x, const Record *record)
{
        _cleanup_(buf_deinitp) Buf a = BUF_INIT(1 << 24), b = BUF_INIT(1 << 24);
        const char *failed;
        bool value;
        int r = expression_json(x, record, &a, &failed);
        assert(r >= 0);
        assert(json_check(buf_slice(&a), LIMIT_JSON_DEPTH, NULL) == 0);
        assert(expression_json(x, record, &b, &failed) == r);
        assert(slice_eq(buf_slice(&a), buf_slice(&b)));
        assert(expression_test(x, record, &value, &failed) == r);
        assert(value == slice_eq_str(buf_slice(&a), "true"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static Buf buf = BUF_INIT(1 << 20);
        static Record record;
        if (buf.len == 0)
                assert(fixture_record_of(&buf, &record, "file.created", FIXTURE_DATA) == 0);
        Slice text = slice_mem(data, size);
        for (int declared = 0; declared < 2; declared++) {
                Fault fault;
                _cleanup_(expression_freep) Expression *x = NULL;
                int r = expression_new(&x, text, declared ? fixture_type_list : NULL,
                        declared ? N_FIXTURE_LIST : 0, false, &fault);
                if (r == 0) {
                        check_run(x, &record);
                        continue;
                }
                assert(r == -EINVAL && fault.message[0] && fault.start <= size + 1);
                _cleanup_(buf_deinitp) Buf out = BUF_INIT(1 << 16);
                fault_explain(&fault, text, &out);
                assert(out.error == 0);
        }
        return 0;
}
