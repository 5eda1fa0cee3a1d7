// SPDX-License-Identifier: MIT
// The pure half of the postgresql source as a filter, for tests against a real server: lines in,
// lines out. In: "M HEX" a pgoutput message, "A" and five fields between tabs a row of the answer to a
// question, "." the end of the answer, "D" the connection broke, "S HEX" the stored position. Out:
// JSON objects with one member: "event", "state", "question", "position", "error"; and "ok" when it
// wants the next line.
#include "base/json.h"
#include "change.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Buf payload = {.max = 1u << 30}, out = {.max = 1u << 30};

static void say(void)
{
        buf_add_char(&out, '\n');
        (void)fwrite(out.data, 1, out.len, stdout);
        buf_reset(&out);
}

static void say_text(const char *name, Slice text)
{
        JsonWriter w = json_writer(&out);
        json_begin(&w, '{');
        json_key(&w, name);
        json_add_string(&w, text);
        json_end(&w, '}');
        say();
}

static void say_event(const SourceEvent *e)
{
        JsonWriter w = json_writer(&out);
        json_begin(&w, '{');
        json_key(&w, "event");
        json_begin(&w, '{');
        json_key(&w, "type");
        json_text(&w, e->type);
        json_key(&w, "subject");
        json_add_string(&w, e->subject);
        json_key(&w, "key");
        json_add_string(&w, e->key);
        json_key(&w, "id");
        json_add_string(&w, e->id_material);
        json_key(&w, "time_usec");
        json_u64(&w, e->time_usec);
        json_key(&w, "data");
        json_raw(&w, e->data);
        json_end(&w, '}');
        json_end(&w, '}');
        say();
        if (json_check(e->data, 63, NULL) < 0)
                say_text("error", SLICE_LIT("the event's data is not JSON"));
}

static void say_position(const Change *c)
{
        Buf bytes = BUF_INIT(4096);
        position_put(change_position(c), &bytes);
        JsonWriter w = json_writer(&out);
        json_begin(&w, '{');
        json_key(&w, "position");
        buf_add_char(&out, '"');
        for (size_t i = 0; i < bytes.len; i++)
                buf_addf(&out, "%02x", bytes.data[i]);
        buf_add_str(&out, "\"}");
        say();
        buf_deinit(&bytes);
}

// Everything that waits goes out; an answer is waited for by the caller.
static int drain(Change *c, Reason *reason)
{
        const ChangeItem *item;

        while ((item = change_item(c))) {
                if (item->state_key.data)
                        say_text("state", item->state_key);
                if (item->event)
                        say_event(item->event);
                int r = change_taken(c, reason);
                if (r < 0)
                        return r;
                say_position(c);
        }
        if (change_question(c))
                say_text("question", slice_of(change_question(c)));
        return 0;
}

static void unhex(const char *hex)
{
        unsigned byte;
        buf_reset(&payload);
        for (; sscanf(hex, "%2x", &byte) == 1; hex += 2)
                buf_add_char(&payload, (char)byte);
}

static int line(Change *c, char *text, Reason *reason)
{
        Slice fields[CHANGE_ANSWER_FIELDS] = {0};
        Position p;
        char *rest = text + 2;

        switch (text[0]) {
        case 'M':
                unhex(rest);
                return change_feed(c, buf_slice(&payload), reason);
        case 'A':
                for (unsigned i = 0; i < CHANGE_ANSWER_FIELDS && rest; i++)
                        fields[i] = slice_of(strsep(&rest, "\t"));
                return change_answer(c, fields);
        case '.':
                return change_answered(c, reason);
        case 'D':
                change_disconnected(c);
                return 0;
        case 'S':
                unhex(rest);
                int r = position_get(buf_slice(&payload), &p, reason);
                if (r >= 0)
                        change_set_position(c, &p);
                return r;
        default:
                return -EINVAL;
        }
}

int main(int argc, char **argv)
{
        ChangeOptions o = {.operations = CHANGE_ALL, .event_max = 1024 * 1024};
        char *text = NULL;
        size_t size = 0;
        ssize_t n;

        for (int i = 1; i < argc; i++) {
                o.numbers |= strcmp(argv[i], "numbers") == 0;
                o.group |= strcmp(argv[i], "group") == 0;
                if (strcmp(argv[i], "small") == 0)
                        o.event_max = 32 * 1024;
        }
        Change *c = change_new(&o);
        change_connected(c, 7000000000000000001, 1, "slot");
        while ((n = getline(&text, &size, stdin)) > 0) {
                Reason reason = {""};
                if (text[n - 1] == '\n')
                        text[n - 1] = 0;
                int r = line(c, text, &reason);
                if (r >= 0 && text[0] != 'A')
                        r = drain(c, &reason);
                if (r < 0)
                        say_text("error", slice_of(reason.text[0] ? reason.text : strerror(-r)));
                say_text("ok", SLICE_NULL);
                (void)fflush(stdout);
        }
        free(text);
        buf_deinit(&payload);
        buf_deinit(&out);
        change_free(c);
        return 0;
}
