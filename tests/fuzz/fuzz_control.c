// SPDX-License-Identifier: MIT
// Any bytes as a request: at most one answer comes of it, whole, valid JSON, with a NUL at its end;
// a method body sees only parameters of its table's types.
#include "hub/control_internal.h"

#include "base/json.h"
#include "base/limits.h"
#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int run(ControlCall *c, void *userdata)
{
        const char *text = control_get_string(c, "text", NULL);
        assert(text);
        if (control_get_bool(c, "fail", false))
                return -5;
        return control_reply(c,
                json_pack("{s:s, s:I}", "text", text, "n", (json_int_t)control_get_int(c, "n", 0)));
}

static const ControlParameter parameters[] = {{"text", CONTROL_STRING, true},
        {"n", CONTROL_INT, false}, {"fail", CONTROL_BOOL, false}, {0}};
static const ControlMethod methods[] = {{"Do", CONTROL_READ, false, parameters, run}};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uid_t self = 7;
        Control control = {.options = {.methods = methods, .n_methods = 1}};
        control.roles.of[CONTROL_READ].uids = &self;
        control.roles.of[CONTROL_READ].n_uids = 1;
        Client client = {.control = &control,
                .fd = -1,
                .peer = {.uid = self},
                .out = BUF_INIT(LIMIT_CONTROL_CLIENT * 2)};
        client.call.client = &client;

        control_dispatch(&client, slice_mem(data, size));
        assert(!client.call.active);
        const Buf *out = &client.out;
        if (out->len > 0) {
                assert(memchr(out->data, 0, out->len) == out->data + out->len - 1);
                assert(json_check((Slice){(const char *)out->data, out->len - 1}, LIMIT_JSON_DEPTH,
                               NULL) == 0);
        }
        buf_deinit(&client.out);
        return 0;
}
