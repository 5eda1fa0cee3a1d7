// SPDX-License-Identifier: MIT
// The roles as numbers of users and groups: for the control server, and for the doors of applications.
#pragma once

#include "base/buf.h"
#include "hub/control.h"

typedef struct ControlRoleMembers {
        uid_t *uids;
        gid_t *gids;
        size_t n_uids, n_gids;
        char *spelled; // as configured, for the line a refusal proposes: "root", "@belfry"
} ControlRoleMembers;

typedef struct ControlRoles {
        ControlRoleMembers of[_CONTROL_ROLE_MAX];
} ControlRoles;

// lists and ret_unknown as in control_set_roles().
int control_roles_init(
        ControlRoles *r, char *const *const lists[_CONTROL_ROLE_MAX], Buf *ret_unknown) _must_use_;
void control_roles_deinit(ControlRoles *r);
bool control_roles_allow(
        const ControlRoles *r, ControlRole role, uid_t uid, const gid_t *gids, size_t n_gids);
// Who has the role `least` or one above it can open the socket's file: an access list beside its mode.
// With CONTROL_READ the file's own group can too. -errno where the file system has no such lists: then
// mode and group decide.
int control_roles_open(const ControlRoles *r, ControlRole least, const char *path);
