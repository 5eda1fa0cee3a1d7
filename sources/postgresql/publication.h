// SPDX-License-Identifier: MIT
// Brings the publication in line with the tables that are asked for: looks at the catalogue, makes
// it, alters it, or says what to run. One run at a time, over a connection that is up.
//
// A publication that Belfry made carries a mark in its comment ("belfry:" and a hash of what was
// asked for); one without it is somebody's, and is used as it is. A table whose rows could not be
// told apart (no replica identity) is refused, since publishing it would make the application's own
// UPDATE and DELETE fail.
#pragma once

#include "options.h"
#include "server.h"

typedef struct Publication Publication;

typedef struct PublicationResult {
        bool usable;      // it exists
        bool changed;     // tables were added or removed
        size_t n_tables;  // published, as far as asked for
        Reason trouble;   // what is missing of it, with the SQL; "" = all is well
        Buf findings;     // the same for the doctor: lines, the SQL complete
} PublicationResult;

typedef struct PublicationPlan {
        const PostgresqlOptions *options;
        const char *name;
        bool may_create; // the role may make publications in this database
        bool look_only;  // the doctor: says what would be done
} PublicationPlan;

// fault != NULL: the server refused a command that is no question of rights (the connection goes on).
typedef void (*PublicationDone)(void *userdata, const PublicationResult *result, const ServerFault *fault);

// done() is the last thing it does; then publication_free() it. Also before, to give up.
int publication_run(Publication **ret, Server *server, const PublicationPlan *plan, PublicationDone done,
        void *userdata) _must_use_;
Publication *publication_free(Publication *p);
bool publication_has_patterns(const PostgresqlOptions *o); // new tables may come
