// SPDX-License-Identifier: MIT
// Who may do what: the users and groups of each role, resolved once when the configuration is
// loaded, so that no request ever waits for a directory service. A peer is judged by the uid and the
// supplementary groups the kernel recorded when it connected, never by its pid.
//
// root stands in the default list and nowhere else: who takes it out of `admin` means it. A person
// (a login uid) who runs belfryd by hand is admin of it: the process and the store are theirs
// anyway. A system user is not: the modules run under it and must not command the hub.
#include "hub/control_roles.h"

#include "base/text.h"
#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/xattr.h>

// login.defs: UID_MIN and UID_MAX of Debian, below and above are system and dynamic users.
enum { LOGIN_UID_MIN = 1000, LOGIN_UID_MAX = 60000 };
enum { LOOKUP_BYTES_MAX = 1 << 20 }; // a group with very many members
enum { SPELLED_MAX = 64 * 1024 };    // of one role, in a proposed configuration line

static const char *const role_names[_CONTROL_ROLE_MAX] = {
        [CONTROL_READ] = "read",
        [CONTROL_INJECT] = "inject",
        [CONTROL_ADMIN] = "admin",
};

const char *control_role_to_string(ControlRole r)
{
        return r >= 0 && r < _CONTROL_ROLE_MAX ? role_names[r] : NULL;
}

ControlRole control_role_from_string(const char *s)
{
        for (int i = 0; s && i < _CONTROL_ROLE_MAX; i++)
                if (strcmp(s, role_names[i]) == 0)
                        return i;
        return _CONTROL_ROLE_INVALID;
}

// 1 = found, 0 = no such name.
static int look_up(const char *name, bool group, uint32_t *ret)
{
        for (size_t size = 4096; size <= LOOKUP_BYTES_MAX; size *= 4) {
                _cleanup_(freep) char *buf = malloc(size);
                if (!buf)
                        return -ENOMEM;
                struct passwd pw, *user = NULL;
                struct group gr, *found = NULL;
                int r = group ? getgrnam_r(name, &gr, buf, size, &found)
                              : getpwnam_r(name, &pw, buf, size, &user);
                if (r == ERANGE)
                        continue;
                if (found)
                        *ret = found->gr_gid;
                if (user)
                        *ret = user->pw_uid;
                return found || user;
        }
        return 0;
}

static int numeric_id(const char *name, uint32_t *ret)
{
        uint64_t v = 0;
        if (!*name)
                return 0;
        for (const char *p = name; *p; p++) {
                if (*p < '0' || *p > '9')
                        return 0;
                v = v * 10 + (uint64_t)(*p - '0');
                if (v >= UINT32_MAX)
                        return 0;
        }
        *ret = (uint32_t)v;
        return 1;
}

static int add_id(uint32_t **list, size_t *n, uint32_t id)
{
        uint32_t *grown = reallocarray(*list, *n + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        *list = grown;
        grown[(*n)++] = id;
        return 0;
}

static_assert(
        sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "ids are 32 bits");

static int role_init(ControlRoleMembers *m, char *const *list, Buf *unknown)
{
        _cleanup_(buf_deinitp) Buf spelled = BUF_INIT(SPELLED_MAX);
        for (size_t i = 0; list && list[i]; i++) {
                const char *name = list[i];
                bool group = name[0] == '@';
                uint32_t id = 0;
                buf_addf(&spelled, "%s\"%s\"", i ? ", " : "", name);
                int r = numeric_id(name + group, &id);
                if (r == 0)
                        r = look_up(name + group, group, &id);
                if (r < 0)
                        return r;
                if (r == 0) {
                        bool is_default = strcmp(name, "root") == 0 || strcmp(name, "@belfry") == 0;
                        if (!is_default)
                                buf_addf(unknown, "%s%s", unknown->len ? ", " : "", name);
                        continue;
                }
                r = group ? add_id(&m->gids, &m->n_gids, id) : add_id(&m->uids, &m->n_uids, id);
                if (r < 0)
                        return r;
        }
        m->spelled = strdup(buf_text(&spelled));
        return m->spelled ? 0 : -ENOMEM;
}

int control_roles_init(
        ControlRoles *r, char *const *const lists[_CONTROL_ROLE_MAX], Buf *ret_unknown)
{
        ControlRoles made = {};
        for (int i = 0; i < _CONTROL_ROLE_MAX; i++) {
                int e = role_init(&made.of[i], lists[i], ret_unknown);
                if (e < 0) {
                        control_roles_deinit(&made);
                        return e;
                }
        }
        uid_t self = geteuid();
        if (self >= LOGIN_UID_MIN && self <= LOGIN_UID_MAX) {
                ControlRoleMembers *admin = &made.of[CONTROL_ADMIN];
                int e = add_id(&admin->uids, &admin->n_uids, self);
                if (e < 0) {
                        control_roles_deinit(&made);
                        return e;
                }
        }
        *r = made;
        return 0;
}

void control_roles_deinit(ControlRoles *r)
{
        for (int i = 0; i < _CONTROL_ROLE_MAX; i++) {
                free(r->of[i].uids);
                free(r->of[i].gids);
                free(r->of[i].spelled);
        }
        *r = (ControlRoles){};
}

// The kernel's form of an access list (linux/posix_acl_xattr.h, little-endian): owner, users, group,
// groups, mask, others; users and groups in order of their numbers.
typedef struct AclEntry {
        uint16_t tag, perm;
        uint32_t id;
} AclEntry;
enum {
        ACL_USER_OBJ = 1,
        ACL_USER = 2,
        ACL_GROUP_OBJ = 4,
        ACL_GROUP = 8,
        ACL_MASK = 16,
        ACL_OTHER = 32
};
enum { ACL_READ_WRITE = 6, ACL_ENTRIES_MAX = 512 };

static int by_id(const void *a, const void *b)
{
        const AclEntry *x = a, *y = b;
        return (x->id > y->id) - (x->id < y->id);
}

static size_t add_entries(
        AclEntry *list, size_t n, uint16_t tag, const ControlRoles *r, ControlRole least)
{
        size_t first = n;
        for (int role = least; role < _CONTROL_ROLE_MAX; role++) {
                const ControlRoleMembers *m = &r->of[role];
                size_t n_ids = tag == ACL_USER ? m->n_uids : m->n_gids;
                const uint32_t *ids = tag == ACL_USER ? m->uids : m->gids;
                for (size_t i = 0; i < n_ids && n < ACL_ENTRIES_MAX; i++) {
                        bool known = false;
                        for (size_t k = first; k < n; k++)
                                known |= list[k].id == ids[i];
                        if (!known)
                                list[n++] = (AclEntry){tag, ACL_READ_WRITE, ids[i]};
                }
        }
        qsort(list + first, n - first, sizeof(*list), by_id);
        return n;
}

int control_roles_open(const ControlRoles *r, ControlRole least, const char *path)
{
        enum { NO_ID = -1 };
        static AclEntry list[1 + 2 * ACL_ENTRIES_MAX + 4];
        static uint8_t text[4 + sizeof(list)];
        uint16_t own_group = least == CONTROL_READ ? ACL_READ_WRITE : 0;
        size_t n = 0;
        list[n++] = (AclEntry){ACL_USER_OBJ, ACL_READ_WRITE, (uint32_t)NO_ID};
        n = add_entries(list, n, ACL_USER, r, least);
        list[n++] = (AclEntry){ACL_GROUP_OBJ, own_group, (uint32_t)NO_ID};
        n = add_entries(list, n, ACL_GROUP, r, least);
        list[n++] = (AclEntry){ACL_MASK, ACL_READ_WRITE, (uint32_t)NO_ID};
        list[n++] = (AclEntry){ACL_OTHER, 0, (uint32_t)NO_ID};
        memcpy(text, &(uint32_t){2}, 4); // the form's version
        memcpy(text + 4, list, n * sizeof(*list));
        return setxattr(path, "system.posix_acl_access", text, 4 + n * sizeof(*list), 0) < 0
                       ? -errno
                       : 0;
}

static bool is_member(const ControlRoleMembers *m, uid_t uid, const gid_t *gids, size_t n_gids)
{
        for (size_t i = 0; i < m->n_uids; i++)
                if (m->uids[i] == uid)
                        return true;
        for (size_t i = 0; i < m->n_gids; i++)
                for (size_t k = 0; k < n_gids; k++)
                        if (m->gids[i] == gids[k])
                                return true;
        return false;
}

bool control_roles_allow(
        const ControlRoles *r, ControlRole role, uid_t uid, const gid_t *gids, size_t n_gids)
{
        return is_member(&r->of[CONTROL_ADMIN], uid, gids, n_gids) ||
               (role != CONTROL_ADMIN && is_member(&r->of[role], uid, gids, n_gids));
}
