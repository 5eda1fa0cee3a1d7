// SPDX-License-Identifier: MIT
// Start, the turn of the loop, stop. Start reads the snapshot back, puts the nodes under their
// parents, drops what the options no longer cover, arms the roots and compares; then it is ready.
// A turn: read the kernel's queue, move on whatever is due, one batch, arm the timer.
#include "start.h"

#include "parts.h"

#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum {
        STATE_BYTES = 512 * 1024,
        STATS_USEC = 1000000,
        NAP_USEC = 1000,
        AGAIN_PRIORITY = 10,
        PATH_BYTES = 1 << 20
};

void watcher_fail(Watcher *w, const char *what, int error)
{
        if (w->failed)
                return;
        w->failed = true;
        source_fail(w->source, false, "%s: %s", what, strerror(-error));
}

void watcher_wake(Watcher *w)
{
        if (w->again)
                (void)sd_event_source_set_enabled(w->again, SD_EVENT_ONESHOT);
}

// The first comparison is complete: what follows is told as it happens.
static void finish_start(Watcher *w)
{
        if (w->ready || round_active(w) || w->stats.comparisons == 0 || w->scans.n > 0 ||
                w->reader || w->removal_head < w->removals.n || !batch_ready(w))
                return;
        if (w->taking_stock) {
                w->taking_stock = false;
                coverage_put(w);
                coverage_free(w);
        }
        w->ready = true;
        batch_open(w);
        batch_close(w);
        source_ready(w->source);
}

static bool work(Watcher *w)
{
        bool more = false;
        if (!round_active(w)) {
                (void)holds_expire(w, false);
                more = settle_work(w);
        }
        if (round_active(w) || round_wanted(w)) {
                more |= round_work(w);
                if (!round_active(w) && w->stats.comparisons > 0 && batch_ready(w)) {
                        roots_stock_taken(w);
                        roots_report_trouble(w);
                }
        } else {
                more |= scan_work(w);
        }
        return removals_work(w) || more;
}

static uint64_t next_due(Watcher *w)
{
        uint64_t due = w->refresh_due < w->poll_due ? w->refresh_due : w->poll_due;
        const Pending *p = pending_first(&w->pendings);
        if (w->napping && w->now + NAP_USEC < due)
                due = w->now + NAP_USEC;
        if (w->stats_due < due)
                due = w->stats_due;
        if (!source_may_send(w->source) || round_active(w))
                return due; // resume() or the next step goes on
        if (p && p->due < due)
                due = p->due;
        if (holds_due(w) < due)
                due = holds_due(w);
        if ((w->all_dirty || w->dirty.n > 0) && w->round_not_before < due)
                due = w->round_not_before;
        return due;
}

static void arm(Watcher *w, bool more)
{
        uint64_t due = next_due(w);
        (void)sd_event_source_set_enabled(w->io, w->napping ? SD_EVENT_OFF : SD_EVENT_ON);
        if (more)
                watcher_wake(w);
        if (due != UINT64_MAX)
                (void)sd_event_source_set_time(w->timer, due);
        (void)sd_event_source_set_enabled(
                w->timer, due == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

static void tell_stats(Watcher *w)
{
        static Stats told;
        static size_t dirs, files;
        bool news = memcmp(&told, &w->stats, sizeof told) != 0 || dirs != w->tree.n_dirs ||
                    files != w->tree.n_files;
        if (w->now >= w->stats_due) {
                if (news) {
                        watcher_stats(w);
                        told = w->stats;
                        dirs = w->tree.n_dirs;
                        files = w->tree.n_files;
                }
                w->stats_due = news ? w->now + STATS_USEC : UINT64_MAX;
        } else if (news && w->stats_due == UINT64_MAX) {
                w->stats_due = w->now + STATS_USEC;
        }
}

void watcher_pump(Watcher *w)
{
        w->now = clock_mono_usec();
        if (!w->loaded || w->failed || w->stopping)
                return;
        if (w->now >= w->refresh_due)
                roots_refresh(w);
        if (w->now >= w->poll_due) {
                w->poll_due = w->now + w->options->poll_usec;
                if (w->any_remote || w->n_unwatched > 0 || w->n_unreadable > 0 ||
                        w->stats.comparisons < 2)
                        roots_poll(w);
        }
        roots_tell_gaps(w);
        bool more = work(w);
        finish_start(w);
        batch_close(w);
        if (w->trouble_news && !round_active(w))
                roots_report_trouble(w);
        dir_fd_forget(w);
        if (memory_short)
                watcher_fail(w, "cannot go on", -ENOMEM);
        if (w->failed)
                return;
        tell_stats(w);
        arm(w, more);
}

static int on_events(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        Watcher *w = userdata;
        watch_read(w);
        watcher_pump(w);
        return 0;
}

static int on_mounts(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
        roots_refresh_soon(userdata);
        watcher_pump(userdata);
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
        return on_events(s, -1, 0, userdata);
}

static int on_again(sd_event_source *s, void *userdata)
{
        return on_events(s, -1, 0, userdata);
}

// Nodes were read in order of their ids; now each finds its parent.
static void link_nodes(Watcher *w)
{
        Dir *d, *next;
        HASH_ITER (hh, w->tree.by_id, d, next) {
                if (!d->self)
                        continue;
                d->parent = tree_dir(&w->tree, d->load_parent);
                Entry *e = d->self;
                d->flags |= DIR_DETACHED;
                if (!d->parent || dir_find(d->parent, e->name, e->name_len))
                        continue; // half of a move or a removal at a crash
                if (dir_insert(&w->tree, d->parent, e) < 0)
                        memory_short = true;
                else
                        d->flags &= ~(uint32_t)DIR_DETACHED;
        }
        for (Root *r = w->roots; r; r = r->next)
                if (r->dir)
                        tree_dir_settle(r->dir);
}

// What is left without a way to a root is dropped without events: there is no path to tell.
static void drop_strays(Watcher *w)
{
        Dir *d, *next;
        HASH_ITER (hh, w->tree.by_id, d, next) {
                if (d->root)
                        continue;
                for (uint32_t i = 0; i < d->entries.cap; i++) {
                        const Entry *e = d->entries.slots[i];
                        if (e && !entry_is_dir(e) && batch_ready(w))
                                row_del_file(w, d, e->name, e->name_len);
                }
                row_del_dir(w, d);
                if (d->flags & DIR_DETACHED)
                        free(d->self);
                tree_dir_free(&w->tree, d);
        }
}

static void set_all_flags(Watcher *w)
{
        for (Root *r = w->roots; r; r = r->next)
                if (r->dir)
                        dirs_set_flags(w, r->dir);
}

// The options show less than they did: what they no longer cover leaves without a word.
static void prune(Watcher *w)
{
        Dir *d, *next;
        HASH_ITER (hh, w->tree.by_id, d, next) {
                if (!d->root->wanted || d->flags & DIR_REMOVING)
                        continue;
                bool leaf = d->flags & DIR_LEAF;
                for (uint32_t i = 0; i < d->entries.cap;) {
                        Entry *e = d->entries.slots[i];
                        Slice name = e ? slice_mem(e->name, e->name_len) : SLICE_NULL;
                        // Files are left to the comparison, which drops them as silently.
                        if (!e ||
                                (!leaf && (!entry_is_dir(e) || name_admitted(w, d, name, true)))) {
                                i++;
                        } else if (entry_is_dir(e)) {
                                Dir *out = e->dir;
                                dir_detach(w, out);
                                out->flags |= DIR_SILENT;
                                dir_remove_later(w, out);
                        } else {
                                d->flags |= DIR_SILENT;
                                (void)batch_ready(w);
                                report_deleted(w, d, e, true);
                                d->flags &= ~(uint32_t)DIR_SILENT;
                        }
                }
        }
}

static void mark_wanted(Watcher *w)
{
        for (Root *r = w->roots; r; r = r->next) {
                for (char **p = w->options->paths; p && *p && !r->wanted; p++)
                        r->wanted = root_is_configured(r, *p);
                if (r->names && r->dir)
                        root_names_from_snapshot(w, r);
        }
}

void watcher_loaded(Watcher *w)
{
        link_nodes(w);
        drop_strays(w);
        set_all_flags(w);
        w->taking_stock |= coverage_changed(w);
        if (!w->taking_stock)
                coverage_free(w);
        mark_wanted(w);
        w->loaded = true;
        w->now = clock_mono_usec();
        if (w->tree.n_dirs > 0) {
                roots_forget_unwanted(w);
                if (w->taking_stock)
                        prune(w);
        }
        roots_refresh(w);
        w->all_dirty = true;
        w->poll_due = w->now + w->options->poll_usec;
        watcher_wake(w);
        watcher_pump(w);
}

static int add_sources(Watcher *w)
{
        sd_event *loop = source_loop(w->source);
        int r = sd_event_add_io(loop, &w->io, w->inotify_fd, EPOLLIN, on_events, w);
        if (r < 0)
                return r;
        // The cage closes what was open before it; where it lets us, we look again.
        if (watcher_mounts_fd < 0 || fcntl(watcher_mounts_fd, F_GETFD) < 0)
                watcher_mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        w->mounts_fd = watcher_mounts_fd;
        if (w->mounts_fd >= 0 &&
                sd_event_add_io(loop, &w->mounts, w->mounts_fd, EPOLLPRI, on_mounts, w) < 0)
                w->mounts_fd = -1;
        r = sd_event_add_time(loop, &w->timer, CLOCK_MONOTONIC, 0, 100, on_timer, w);
        if (r < 0)
                return r;
        (void)sd_event_source_set_enabled(w->timer, SD_EVENT_OFF);
        r = sd_event_add_defer(loop, &w->again, on_again, w);
        if (r < 0)
                return r;
        (void)sd_event_source_set_enabled(w->again, SD_EVENT_OFF);
        return sd_event_source_set_priority(w->again, AGAIN_PRIORITY);
}

int watcher_start(Source *source, const InotifyOptions *options, Slice position, Watcher **ret,
        Reason *reason)
{
        Watcher *w = calloc(1, sizeof *w);
        if (!w)
                return -ENOMEM;
        *ret = w;
        w->source = source;
        w->options = options;
        w->inotify_fd = w->mounts_fd = -1;
        w->refresh_due = w->poll_due = UINT64_MAX;
        w->path = w->old_path = w->json = w->row = w->key = w->scratch = BUF_INIT(PATH_BYTES);
        w->json.max = LIMIT_EVENT_MAX;
        int r = inotify_settle_parse(options->settle, &w->settle_usec);
        if (r >= 0)
                r = ignore_list_init(&w->include, options->include, reason);
        if (r >= 0)
                r = ignore_list_init(&w->exclude, options->exclude, reason);
        if (r == -EINVAL) // nothing but another configuration helps
                source_fail(source, true, "%s", reason->text);
        if (r >= 0)
                r = watch_init(w, reason);
        if (r >= 0)
                r = add_sources(w);
        if (r < 0)
                return r;
        if (!position.data) {
                w->taking_stock = true;
                watcher_loaded(w);
                return 0;
        }
        r = position_load(w, position);
        if (r < 0)
                return reason_set(reason, r, "the stored position is not one of this version");
        return source_state_get(source, SLICE_NULL, STATE_BYTES);
}

int watcher_state(Watcher *w, Slice key, Slice value)
{
        buf_reset(&w->key);
        buf_add_slice(&w->key, key);
        return row_load(w, key, value);
}

int watcher_state_end(Watcher *w, bool more)
{
        if (more)
                return source_state_get(w->source, buf_slice(&w->key), STATE_BYTES);
        watcher_loaded(w);
        return 0;
}

void watcher_stop(Watcher *w)
{
        if (w->loaded && !w->failed) {
                watch_read(w);
                watcher_pump(w);
        }
        w->stopping = true;
        source_stopped(w->source);
}

void watcher_free(Watcher *w)
{
        w->io = sd_event_source_disable_unref(w->io);
        w->mounts = sd_event_source_disable_unref(w->mounts);
        w->timer = sd_event_source_disable_unref(w->timer);
        w->again = sd_event_source_disable_unref(w->again);
        holds_abandon(w);
        round_free(w);
        w->reader = reader_close(w->reader);
        hash_stop(w);
        dir_fd_forget(w);
        pendings_deinit(&w->pendings);
        watch_deinit(w);
        tree_deinit(&w->tree);
        roots_deinit(w);
        coverage_free(w);
        ignore_list_deinit(&w->include);
        ignore_list_deinit(&w->exclude);
        free(w->scans.ids);
        free(w->removals.ids);
        free(w->dirty.ids);
        Buf *bufs[] = {&w->path, &w->old_path, &w->json, &w->row, &w->key, &w->scratch};
        for (size_t i = 0; i < N_ELEMENTS(bufs); i++)
                buf_deinit(bufs[i]);
        free(w);
}
