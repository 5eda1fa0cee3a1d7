// SPDX-License-Identifier: MIT
// See doors.h. Who may hand in events is said twice: the kernel asks the access list of the socket file
// when somebody connects or sends, and the source asks its own list for each connection, since a file
// system may have no access lists and a reload takes effect at once. Of who sent a datagram the kernel
// tells no groups, so there the file alone decides.
#include "hub/doors.h"

#include "base/limits.h"
#include "base/log.h"
#include "hub/child.h"
#include "hub/control_roles.h"
#include "hub/hub.h"
#include "hub/intake.h"
#include "hub/socket_file.h"
#include "link/message.h"
#include "module/cage.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { DOOR_BACKLOG = 512 };

struct Doors {
        int fds[CHILD_DOORS]; // stream, datagrams
        char *paths[CHILD_DOORS];
        ControlRoles roles;
        bool said; // that the file system has no access lists
};

static const char *const door_names[CHILD_DOORS] = {"events", "events.dgram"};
static const int door_types[CHILD_DOORS] = {SOCK_STREAM, SOCK_DGRAM};

static Doors *doors_free(Doors *d)
{
        for (unsigned i = 0; d && i < N_ELEMENTS(d->fds); i++) {
                if (d->fds[i] >= 0) {
                        (void)close(d->fds[i]);
                        (void)unlink(d->paths[i]);
                }
                free(d->paths[i]);
        }
        if (d)
                control_roles_deinit(&d->roles);
        free(d);
        return NULL;
}
DEFINE_CLEANUP(Doors, doors_free)

// From a group of the list to the file, for file systems without access lists: better one group than
// nobody.
static void door_open_plainly(Doors *d, const char *path, int error)
{
        const ControlRoleMembers *m = &d->roles.of[CONTROL_INJECT];
        bool given =
                m->n_gids > 0 && chown(path, (uid_t)-1, m->gids[0]) == 0 && chmod(path, 0660) == 0;
        if (!d->said)
                log_warning("%s: no access list (%s): only the owner%s may open it", path,
                        strerror(-error), given ? " and the first group of control.inject" : "");
        d->said = true;
}

static int doors_judge(Hub *h, Doors *d)
{
        ControlRoles made = {0};
        char *const *lists[_CONTROL_ROLE_MAX] = {
                [CONTROL_READ] = NULL,
                [CONTROL_INJECT] = h->config->control.inject,
                [CONTROL_ADMIN] = h->config->control.admin,
        };
        _cleanup_(buf_deinitp) Buf unknown = BUF_INIT(LIMIT_LOG_TEXT); // the control socket says it
        int r = control_roles_init(&made, lists, &unknown);
        if (r < 0)
                return r;
        control_roles_deinit(&d->roles);
        d->roles = made;
        for (unsigned i = 0; i < N_ELEMENTS(d->fds); i++) {
                r = control_roles_open(&d->roles, CONTROL_INJECT, d->paths[i]);
                if (r < 0)
                        door_open_plainly(d, d->paths[i], r);
        }
        return 0;
}

static int doors_new(Hub *h, Doors **ret, Reason *reason)
{
        _cleanup_(doors_freep) Doors *d = calloc(1, sizeof(*d));
        if (!d)
                return reason_set(reason, -ENOMEM, "out of memory");
        d->fds[0] = d->fds[1] = -1;
        for (unsigned i = 0; i < N_ELEMENTS(d->fds); i++) {
                if (asprintf(&d->paths[i], "%s/%s", h->runtime_dir, door_names[i]) < 0) {
                        d->paths[i] = NULL;
                        return reason_set(reason, -ENOMEM, "out of memory");
                }
                int r = socket_file_new(d->paths[i], door_types[i], &d->fds[i]);
                if (r < 0)
                        return reason_errno(reason, r, "cannot bind %s", d->paths[i]);
        }
        int r = doors_judge(h, d);
        if (r >= 0 && (listen(d->fds[0], DOOR_BACKLOG) < 0 ||
                              setsockopt(d->fds[1], SOL_SOCKET, SO_PASSCRED, &(int){1},
                                      sizeof(int)) < 0)) // each datagram says who sent it
                r = -errno;
        if (r < 0)
                return reason_errno(reason, r, "cannot open %s", d->paths[0]);
        *ret = TAKE_PTR(d);
        return 0;
}

int doors_get(Hub *h, const int **ret_fds, Reason *reason)
{
        int r = h->doors ? 0 : doors_new(h, &h->doors, reason);
        if (r >= 0)
                *ret_fds = h->doors->fds;
        return r;
}

int doors_tell(HubSource *s)
{
        static MessagePeers m; // large
        const ControlRoles *roles = &s->hub->doors->roles;
        const ControlRoleMembers *of[] = {&roles->of[CONTROL_INJECT], &roles->of[CONTROL_ADMIN]};
        m.n_uids = m.n_gids = 0;
        for (unsigned i = 0; i < N_ELEMENTS(of); i++)
                for (size_t k = 0; k < of[i]->n_uids && m.n_uids < MESSAGE_PEERS_MAX; k++)
                        m.ids[m.n_uids++] = of[i]->uids[k];
        for (unsigned i = 0; i < N_ELEMENTS(of); i++)
                for (size_t k = 0; k < of[i]->n_gids && m.n_uids + m.n_gids < MESSAGE_PEERS_MAX;
                        k++)
                        m.ids[m.n_uids + m.n_gids++] = of[i]->gids[k];
        message_put_peers(link_begin(s->child.link, MESSAGE_PEERS), &m);
        return link_end(s->child.link, true);
}

void doors_apply(Hub *h)
{
        HubSource *owner = NULL;
        for (unsigned i = 0; i < h->config->n_sources; i++)
                if (h->config->sources[i].module->description->doors)
                        owner = h->source_of[i];
        if (!owner) {
                doors_close(h);
                return;
        }
        if (!h->doors)
                return; // its process could not be born yet, nor be told
        if (doors_judge(h, h->doors) < 0)
                log_error("out of memory: who may hand in events stays as it was");
        HubChild *c = &owner->child;
        if ((c->state == CHILD_STARTED || c->state == CHILD_READY) && doors_tell(owner) < 0)
                child_kill(c, "it does not read what it is told");
}

void doors_close(Hub *h)
{
        h->doors = doors_free(h->doors);
}
