// SPDX-License-Identifier: MIT
// Any text as a string of a body renders to valid JSON or is refused with a place; as a header it
// renders or is refused.
#include "base/limits.h"
#include "base/text.h"
#include "rule/template.h"
#include "../unit/rule_fixture.h"
#include <assert.h>
#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_template(Evaluation *e, char *text, bool json)
{
        Scope scope = {.types = fixture_type_list, .n_types = N_FIXTURE_LIST};
        Unit unit;
        Template t = {0};
        Fault fault = {0};
        const ConfigText *at = NULL;
        ConfigTemplate source = {.kind = TEMPLATE_STRING, .text = {.text = text}};
        unit_init(&unit, &scope);
        int r = json ? template_json(&unit, &t, &source, &fault, &at)
                     : template_text(&unit, &t, slice_of(text), ESCAPE_NONE, &fault);
        assert(r == 0 || (r == -EINVAL && fault.message[0] && fault.start <= strlen(text) + 1));
        if (r == 0) {
                _cleanup_(buf_deinitp) Buf out = BUF_INIT(1 << 22);
                const char *failed;
                template_render(&t, e, &out);
                assert(evaluation_outcome(e, &failed) >= 0);
                assert(!json || out.error ||
                        json_check(buf_slice(&out), LIMIT_JSON_DEPTH, NULL) == 0);
        }
        unit_deinit(&unit);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static Buf buf = BUF_INIT(1 << 20);
        static Record record;
        static Evaluation e;
        if (buf.len == 0) {
                assert(fixture_record_of(&buf, &record, "file.created", FIXTURE_DATA) == 0);
                assert(evaluation_init(&e) == 0);
        }
        // The text of a configuration is UTF-8 without NUL.
        _cleanup_(freep) char *text = strndup((const char *)data, size);
        if (!text || !text_utf8_valid(slice_of(text)))
                return 0;
        for (int json = 0; json < 2; json++) {
                evaluation_begin(&e, &record);
                check_template(&e, text, json);
        }
        return 0;
}
