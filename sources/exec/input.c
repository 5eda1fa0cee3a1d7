// SPDX-License-Identifier: MIT
// Durable positions to the program's standard input, one line each, in order. A program that does not
// read delays nobody: what does not fit waits here, and when very much waits, positions in between are
// left out; the last one always comes.
#include "exec.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/epoll.h>

enum { ACKS_MAX = 8192, INPUT_MAX = 64 * 1024 };

void input_note(Exec *x, Slice position)
{
        if (x->in_fd < 0)
                return;
        char *text = strndup(position.data, position.len);
        Ack *a = text && x->n_acks < ACKS_MAX ? calloc(1, sizeof(*a)) : NULL;
        if (!text || (!a && x->n_acks < ACKS_MAX)) {
                free(text);
                exec_failed(x, -ENOMEM, "cannot remember a position");
                return;
        }
        if (a) {
                TAILQ_INSERT_TAIL(&x->acks, a, link);
                x->n_acks++;
        } else {
                a = TAILQ_LAST(&x->acks, AckList);
                free(a->position);
        }
        a->batch = x->batch;
        a->position = text;
}

static void ack_drop(Exec *x)
{
        Ack *a = TAILQ_FIRST(&x->acks);
        TAILQ_REMOVE(&x->acks, a, link);
        x->n_acks--;
        free(a->position);
        free(a);
}

static void input_fill(Exec *x)
{
        Ack *a;
        while ((a = TAILQ_FIRST(&x->acks)) && a->batch <= x->durable && x->input.len < INPUT_MAX) {
                buf_addf(&x->input, "%s\n", a->position);
                ack_drop(x);
        }
}

// Writes what can be written. A program that closed its input wants no more.
static void input_write(Exec *x)
{
        for (;;) {
                input_fill(x);
                if (x->input.error < 0)
                        exec_failed(x, x->input.error, "cannot remember a position");
                if (!x->input.len)
                        break;
                ssize_t n = write(x->in_fd, x->input.data, x->input.len);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != EAGAIN) {
                        input_close(x);
                        return;
                }
                if (n < 0)
                        break;
                buf_consume(&x->input, (size_t)n);
        }
        (void)sd_event_source_set_enabled(x->in, x->input.len ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_input(sd_event_source *e, int fd, uint32_t revents, void *userdata)
{
        input_write(userdata);
        return 0;
}

void input_durable(Exec *x)
{
        if (x->in_fd >= 0)
                input_write(x);
}

int input_open(Exec *x, int fd)
{
        x->in_fd = fd;
        if (fd < 0)
                return 0;
        x->input = BUF_INIT(2 * INPUT_MAX);
        int r = sd_event_add_io(x->event, &x->in, fd, EPOLLOUT, on_input, x);
        return r < 0 ? r : sd_event_source_set_enabled(x->in, SD_EVENT_OFF);
}

void input_close(Exec *x)
{
        x->in = sd_event_source_disable_unref(x->in);
        while (!TAILQ_EMPTY(&x->acks))
                ack_drop(x);
        buf_deinit(&x->input);
        if (x->in_fd >= 0)
                (void)close(x->in_fd);
        x->in_fd = -1;
}
