// SPDX-License-Identifier: MIT
// Who may come in, how many of one user, and how fast. The list of users and groups is the hub's; a
// peer is judged by what the kernel recorded when it connected. A user's rate outlives its
// connections, or connecting again would give it a full one.
#include "app.h"

#include "base/clock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { ACCEPTS_A_TURN = 16, WAIT_MIN_USEC = 10 * 1000, WAIT_MAX_USEC = 1000 * 1000 };

static bool is_in(const uint32_t *list, size_t n, uint32_t id)
{
        for (size_t i = 0; i < n; i++)
                if (list[i] == id)
                        return true;
        return false;
}

bool door_allows(const App *a, const Peer *p)
{
        if (is_in(a->uids, a->n_uids, p->uid))
                return true;
        for (size_t i = 0; i < p->n_gids; i++)
                if (is_in(a->gids, a->n_gids, p->gids[i]))
                        return true;
        return false;
}

// ---- users

static void user_fill(const App *a, User *u)
{
        double rate = (double)a->options->rate;
        uint64_t now = clock_boot_usec();
        u->tokens += (double)(now - u->filled_usec) * rate / (double)USEC_PER_SEC;
        if (u->tokens > rate)
                u->tokens = rate;
        u->filled_usec = now;
}

User *user_get(App *a, uid_t uid)
{
        User *u, *next, *found = NULL;
        for (u = LIST_FIRST(&a->users); u; u = next) {
                next = LIST_NEXT(u, link);
                if (u->uid == uid) {
                        found = u;
                        continue;
                }
                if (u->n_clients > 0)
                        continue;
                user_fill(a, u);
                if (u->tokens >= (double)a->options->rate) { // as one that was never here
                        LIST_REMOVE(u, link);
                        free(u);
                }
        }
        if (!found) {
                found = calloc(1, sizeof(*found));
                if (!found)
                        return NULL;
                found->uid = uid;
                found->tokens = (double)a->options->rate;
                found->filled_usec = clock_boot_usec();
                LIST_INSERT_HEAD(&a->users, found, link);
        }
        found->n_clients++;
        return found;
}

void user_put(User *u)
{
        u->n_clients--;
}

bool user_has(App *a, User *u)
{
        user_fill(a, u); // at each line: a full bucket must not gather more
        if (u->tokens >= 1)
                return true;
        double wait = (1 - u->tokens) * (double)USEC_PER_SEC / (double)a->options->rate;
        app_tick(a, wait < WAIT_MIN_USEC   ? WAIT_MIN_USEC
                    : wait > WAIT_MAX_USEC ? WAIT_MAX_USEC
                                           : (uint64_t)wait);
        return false;
}

void user_take(User *u)
{
        u->tokens -= 1;
}

// ---- the doors

static int on_accept(sd_event_source *e, int fd, uint32_t events, void *userdata)
{
        App *a = userdata;
        for (int i = 0; i < ACCEPTS_A_TURN; i++) {
                int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (client >= 0) {
                        client_new(a, client);
                        continue;
                }
                if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
                        break;
                // Out of descriptors or memory: whoever waits goes on waiting, for a moment.
                (void)sd_event_source_set_enabled(e, SD_EVENT_OFF);
                app_tick(a, WAIT_MAX_USEC);
                break;
        }
        return 0;
}

int doors_open(App *a)
{
        return sd_event_add_io(a->event, &a->accept, source_door(a->source), EPOLLIN, on_accept, a);
}

void doors_peers(App *a, const SourcePeers *p)
{
        uint32_t *uids = calloc(p->n_uids + 1, sizeof(*uids));
        uint32_t *gids = calloc(p->n_gids + 1, sizeof(*gids));
        if (!uids || !gids)
                source_fail(a->source, false, "out of memory");
        memcpy(uids, p->uids, p->n_uids * sizeof(*uids));
        memcpy(gids, p->gids, p->n_gids * sizeof(*gids));
        free(a->uids);
        free(a->gids);
        a->uids = uids;
        a->gids = gids;
        a->n_uids = p->n_uids;
        a->n_gids = p->n_gids;
        Client *c;
        LIST_FOREACH (c, &a->clients, link)
                client_check_peer(c);
}
