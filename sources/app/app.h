// SPDX-License-Identifier: MIT
// The app source as one object, shared by the files of this folder. Who does what:
//   app.c     its life: batches, what becomes durable, pause, stop, statistics
//   door.c    who may come in, how many of one user, how fast
//   datagrams.c  what comes without waiting for an answer, and what of it is lost
//   client.c  one connection: lines in, answers out, in order
#pragma once

#include "base/peer.h"
#include "event/keys.h"
#include "event/line.h"
#include "event/record.h"
#include "module/source.h"
#include "options.h"
#include <sys/queue.h>

enum {
        APP_CONNECTIONS = 1024,       // of all users
        APP_PENDING = 1024,           // lines of one connection that wait for their answer
        APP_CHUNK = 64 * 1024,        // read at once
        APP_OUT = 64 * 1024,          // unread answers of one connection, then its lines wait
        APP_TURN_LINES = 256,         // of one connection before others have their turn
        APP_BATCH_EVENTS = 512,       // a batch is handed over at this many
        APP_INPUT = 64 * 1024 * 1024, // half-read lines of all connections together
        APP_ID = ID_HEX / 2,
        APP_MATERIAL_MAX = 16 + EVENT_LINE_ID_MAX,
};

typedef struct App App;
typedef struct Client Client;

// One user: all its connections share what is counted here.
typedef struct User {
        uid_t uid;
        unsigned n_clients;
        double tokens;        // lines it may still hand in
        uint64_t filled_usec; // CLOCK_BOOTTIME: when tokens were last counted
        LIST_ENTRY(User) link;
} User;

typedef struct AppCounts {
        uint64_t accepted, refused, duplicates, connected, turned_away;
} AppCounts;

// Why a datagram was dropped.
typedef enum Drop { DROP_INVALID, DROP_LONG, DROP_RATE, DROP_FULL, _DROP_MAX } Drop;

typedef struct Datagrams {
        sd_event_source *io;
        uint8_t *bytes; // max_line and one more; made when the first one comes
        size_t held;    // bytes of one that was read and waits to be taken; 0: none
        uid_t held_uid;
        uint64_t blocked_boot; // since then they wait to be read; 0: they do not
        bool drops;            // that was too long
        // The row "dgram" stands in the store while datagrams come: who finds it was born after a death.
        bool marked, marking;
        uint64_t mark_batch;
        bool in_batch;
        uint64_t read_boot;                    // the last one
        uint64_t received, dropped[_DROP_MAX]; // ever
        uint64_t untold[_DROP_MAX];            // dropped, and no gap has told it
        uint64_t untold_from, untold_to;       // wall
        uint64_t untold_boot, told_boot;       // since when; when the last gap was told
        uint64_t died_wall;                    // a row was found: when it was written
        char last[REASON_MAX];                 // why the last invalid one was
} Datagrams;

struct App {
        Source *source;
        const AppOptions *options;
        sd_event *event;
        uint64_t batch;   // the number the batch being filled gets
        uint64_t durable; // this and all before are
        bool begun;
        unsigned n_batch; // events in it
        bool stopping;
        bool told;   // who may hand in events
        bool loaded; // the keys
        bool ready;
        sd_event_source *accept, *commit, *tick, *stats;
        uint64_t tick_at; // BOOTTIME; 0: it is off
        LIST_HEAD(, Client) clients;
        unsigned n_clients;
        size_t input; // bytes of half-read lines
        LIST_HEAD(, User) users;
        uint32_t *uids, *gids; // who may hand in events
        size_t n_uids, n_gids;
        EventParser parser;
        Keys keys;
        Buf last_row;             // of the state, while it is read
        uint8_t chunk[APP_CHUNK]; // what is read goes through here; nothing stays in it
        size_t max_line;
        AppCounts counts;
        Datagrams datagrams;
        RecordOrigin origin; // whose events they are: for the id alone
};

// What became of one line.
typedef struct AppTaken {
        uint64_t batch;  // to be answered once this one is durable
        char id[ID_HEX]; // no NUL behind it
        bool made;       // it had no key: the server made one
        char key[2 * APP_ID + 1];
} AppTaken;

// The event's id comes from this; the hub makes the same.
static inline Slice app_material(char out[static APP_MATERIAL_MAX], unsigned uid, Slice key)
{
        int n = snprintf(out, APP_MATERIAL_MAX, "%u:", uid);
        memcpy(out + n, key.data, key.len);
        return slice_mem(out, (size_t)n + key.len);
}

// app.c
int app_start(Source *s, const void *options, Slice position, void **ret_instance,
        Reason *reason) _must_use_;
void app_peers(void *instance, const SourcePeers *peers);
int app_state(void *instance, Slice key, Slice value) _must_use_;
int app_state_end(void *instance, bool more) _must_use_;
void app_durable(void *instance, uint64_t batch);
void app_pause(void *instance);
void app_resume(void *instance);
void app_stop(void *instance);
void app_free(void *instance);
void app_begin(App *a);          // a batch, unless one is begun; it is committed soon
bool app_flush(App *a);          // hands over what is begun; is there credit for another batch?
bool app_may_take(const App *a); // is there credit for another event?
// 0: the event is in the batch. -EINVAL: refused, with a reason for the client.
// -EAGAIN: not now; when it may be taken client_look() is called.
int app_take(App *a, uid_t uid, Slice line, AppTaken *ret, Reason *reason) _must_use_;
void app_stats_soon(App *a);
void app_tick(App *a, uint64_t usec); // the clients are looked at within that time

// door.c
int doors_open(App *a) _must_use_; // once it is told who may come in
void doors_peers(App *a, const SourcePeers *p);
bool door_allows(const App *a, const Peer *p);
User *user_get(App *a, uid_t uid); // NULL: no memory
void user_put(User *u);
bool user_has(App *a, User *u); // is it within its rate? If not, clients are looked at again soon
void user_take(User *u);        // one line

// datagrams.c
int datagrams_open(App *a) _must_use_;
void datagrams_close(App *a);
int datagrams_load(App *a, Slice value) _must_use_; // the row
void datagrams_look(App *a);                        // something changed: may it go on?
void datagrams_write(App *a);                       // into the batch that is about to be committed
void datagrams_stop(App *a); // takes what is there, in front of the last batch
extern const char datagrams_row[];

// client.c
void client_new(App *a, int fd); // takes fd
void client_free(Client *c);
void client_durable(Client *c);                 // answers what waited for a batch
void client_look(Client *c);                    // something changed: may it go on?
bool client_over(Client *c, uint64_t now_boot); // freed: it took too long
bool client_idle(const Client *c);              // nothing to answer any more
void client_check_peer(Client *c);              // ended when it may not hand in events any more

struct Client {
        App *app;
        int fd;
        Peer peer;
        User *user;
        Buf in, out;
        size_t scanned;          // of `in`: no line feed before it
        struct Pending *pending; // a ring
        unsigned first, n_pending, cap;
        uint64_t
                since_usec; // BOOTTIME: since then a line is half read or an answer unread; 0: neither
        bool eof;           // it has said all
        bool closes;        // refused: once the answers are written
        bool hung_up;       // nobody reads answers any more
        bool over;          // to be freed in its next turn
        sd_event_source *io, *turn;
        LIST_ENTRY(Client) link;
};
