// SPDX-License-Identifier: MIT
// One line to an event. Its id comes from its own `id`; without one from the position before it and how
// many lines without an id came since, so that a program which goes on behind that position makes the
// same ids again; and where it cannot go back (replay = "none") from a number of this process.
// A line that was durable before the program was started again is known by that, one whose id is
// remembered by its id, and not taken twice.
// What is refused may have been an event: that is said by a source.gap, at most one a minute.
#include "exec.h"

#include "base/clock.h"
#include "base/limits.h"

#include <errno.h>
#include <syslog.h>

enum { EVENT_ROOM = 1024, GAP_ROOM = 4096, GAP_EVERY_SEC = 60, MATERIAL_MAX = 64 + PLACE_ID_MAX };

_Static_assert(MATERIAL_MAX < LIMIT_ID_MATERIAL, "an id's material fits");
_Static_assert(PLACE_TEXT_MAX + 1024 < LIMIT_FRAME_SLACK, "a position fits beside any event");

static void take_position(Exec *x, Slice position)
{
        if (!position.data || slice_eq_str(position, x->place.position))
                return;
        exec_begin(x);
        place_move(&x->place, position);
        x->repeat = 0;
        input_note(x, position);
}

// What a program says of itself. A position alone stands for all that came before it.
static Taken take_word(Exec *x, const EventLine *l)
{
        if (l->position.data && !exec_make_room(x, EVENT_ROOM))
                return TAKE_LATER;
        if (l->ready)
                run_ready(x);
        take_position(x, l->position);
        return TAKE_DONE;
}

static Slice take_material(Exec *x, const EventLine *l, char out[static MATERIAL_MAX])
{
        int n;
        if (l->key.data) {
                n = snprintf(out, MATERIAL_MAX, "i:%.*s", SLICE_ARG(l->key));
        } else if (x->options->replay == REPLAY_NONE) {
                n = snprintf(out, MATERIAL_MAX, "n:%s:%llu", x->nonce,
                        (unsigned long long)x->n_nameless++);
        } else {
                return place_name(&x->place, out);
        }
        return slice_mem(out, (size_t)n);
}

// Was a line of this id taken before? If not it is from now on.
static bool take_is_known(Exec *x, Slice material)
{
        char id[ID_HEX];
        int r = record_id(&x->origin, material, id);
        if (r >= 0 && keys_have(&x->ids, id))
                return true;
        if (r >= 0)
                r = keys_add(&x->ids, id, 0);
        if (r < 0)
                exec_failed(x, r, "cannot remember an id");
        return false;
}

static void take_event(Exec *x, const EventLine *l)
{
        char text[MATERIAL_MAX];
        Slice material = take_material(x, l, text);
        if (l->key.data && x->options->ids && take_is_known(x, material)) {
                x->counts.repeated++;
                return;
        }
        exec_begin(x);
        source_add(x->source, &(SourceEvent){.time_usec = l->time_usec,
                                      .type = l->type,
                                      .subject = l->subject,
                                      .id_material = material,
                                      .data = l->data});
        x->n_batch++;
        x->counts.accepted++;
        if (!l->key.data && x->options->replay == REPLAY_POSITION)
                x->place.index++;
}

Taken take_line(Exec *x, Slice text)
{
        EventLine l;
        Reason reason = {0};
        int r = event_line_parse(&x->parser, text, true, &l, &reason);
        if (r == -ENOMEM)
                exec_failed(x, r, "cannot take a line apart");
        if (r < 0)
                return take_refuse(x, reason.text);
        if (!l.type[0])
                return take_word(x, &l);
        bool by_place = !l.key.data && x->options->replay == REPLAY_POSITION;
        if (by_place && !x->place.position[0] && !l.position.data)
                return take_refuse(x, "it has neither an id nor a position, on it or before it "
                                      "(replay = \"none\" takes such lines)");
        if (by_place && x->place.index < x->repeat && !l.position.data) {
                x->place.index++;
                x->counts.repeated++;
                return TAKE_DONE;
        }
        if (!exec_make_room(x, l.data.len + l.subject.len * 6 + EVENT_ROOM + PLACE_TEXT_MAX))
                return TAKE_LATER;
        // A new position tells that it did not print again what it printed before.
        if (by_place && x->place.index < x->repeat)
                x->place.index = x->repeat;
        take_event(x, &l);
        take_position(x, l.position);
        if (l.ready)
                run_ready(x);
        exec_stats_soon(x);
        return TAKE_DONE;
}

static int gap_data(Buf *data, const Exec *x, const char *why)
{
        char detail[REASON_MAX + 64];
        JsonWriter w = json_writer(data);
        (void)snprintf(detail, sizeof(detail), "a line of the program was refused: %s", why);
        json_begin(&w, '{');
        json_key(&w, "reason");
        json_text(&w, "refused");
        json_key(&w, "from");
        json_text(&w, x->place.position[0] ? x->place.position : NULL);
        json_key(&w, "to");
        json_text(&w, NULL);
        json_key(&w, "detail");
        json_text(&w, detail);
        json_end(&w, '}');
        return data->error;
}

static void gap_add(Exec *x, const char *why)
{
        char material[64];
        _cleanup_(buf_deinitp) Buf data = BUF_INIT(GAP_ROOM);
        if (gap_data(&data, x, why) < 0)
                exec_failed(x, data.error, "cannot report a gap");
        int n = snprintf(material, sizeof(material), "g:%s:%llu", x->nonce,
                (unsigned long long)x->n_nameless++);
        exec_begin(x);
        source_add(x->source, &(SourceEvent){.type = "source.gap",
                                      .subject = slice_of(source_name(x->source)),
                                      .id_material = slice_mem(material, (size_t)n),
                                      .data = buf_slice(&data)});
        x->n_batch++;
}

Taken take_refuse(Exec *x, const char *why)
{
        uint64_t now = clock_boot_usec();
        if (!x->gap_usec || now - x->gap_usec >= GAP_EVERY_SEC * USEC_PER_SEC) {
                if (!exec_make_room(x, GAP_ROOM))
                        return TAKE_LATER;
                gap_add(x, why);
                x->gap_usec = now;
                source_log(
                        x->source, LOG_WARNING, NULL, "a line of the program was refused: %s", why);
        }
        x->counts.refused++;
        exec_stats_soon(x);
        return TAKE_DONE;
}
