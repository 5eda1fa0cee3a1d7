// SPDX-License-Identifier: MIT
// Which files of the journal are read and which are not. The truth about "read" is the set of files
// this process holds open, compared by device and inode with what lies in the directories: whatever
// made libsystemd leave a file out (rights, damage, a format it does not know, too many open files),
// it shows. The header is looked at only to name the cause; its layout is the public one of
// https://systemd.io/JOURNAL_FILE_FORMAT.
// The directories are those of sd_journal_open(3): /var/log/journal and /run/log/journal with their
// subdirectories MACHINE-ID[.NAMESPACE], or the one configured and its subdirectories.
#include "files.h"

#include "base/clock.h"
#include "base/wire.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FD_FIRST = 3, FILES_MAX = 65536, MACHINE_ID_LEN = 32, GROUPS_MAX = 1024 };

typedef struct Survey {
        FileId *open; // sorted
        size_t n_open;
        const FilesSeen *seen;
        FilesReport *report;
} Survey;

static int survey_open_files(Survey *s)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -errno;
        int max = limit.rlim_cur < FILES_MAX ? (int)limit.rlim_cur : FILES_MAX;
        s->open = calloc((size_t)max, sizeof(*s->open));
        if (!s->open)
                return -ENOMEM;
        for (int fd = FD_FIRST; fd < max; fd++) {
                struct stat st;
                if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                        s->open[s->n_open++] = (FileId){st.st_dev, st.st_ino};
        }
        qsort(s->open, s->n_open, sizeof(*s->open), file_id_compare);
        return 0;
}

static bool is_denial(int error)
{
        return error == EACCES || error == EPERM;
}

// Could this process read it if it were in its group?
static bool group_would_help(const struct stat *st)
{
        gid_t groups[GROUPS_MAX];
        int n = getgroups(GROUPS_MAX, groups);
        if (st->st_gid == 0 || !(st->st_mode & S_IRGRP) || st->st_gid == getegid())
                return false;
        for (int i = 0; i < n; i++)
                if (groups[i] == st->st_gid)
                        return false;
        return true;
}

static void survey_denied(Survey *s, const struct stat *st, const char *path, const char *name)
{
        FilesReport *r = s->report;
        bool helps = st && group_would_help(st);
        if (r->denied++ == 0 || (helps && !r->group_missing))
                (void)snprintf(r->first_denied, sizeof(r->first_denied), "%s%s%s", path,
                        name[0] ? "/" : "", name);
        r->group_missing |= helps;
}

const char *files_header_fault(const uint8_t *head, size_t n, uint64_t size)
{
        // XZ, LZ4, keyed hash, ZSTD, compact: what systemd 254 and older may have written.
        enum { INCOMPATIBLE_KNOWN = 0x1f };
        if (n < FILES_HEADER_SIZE)
                return "is empty or cut short";
        WireReader r = wire_reader(slice_mem(head, n));
        if (!slice_eq(wire_raw(&r, 8), SLICE_LIT("LPKSHHRH")))
                return "is damaged: it does not begin as a journal file does";
        (void)wire_u32(&r); // compatible flags
        uint32_t incompatible = wire_u32(&r);
        (void)wire_raw(&r, 8 + 4 * 16); // state, and four ids
        uint64_t header_size = wire_u64(&r), arena_size = wire_u64(&r);
        if (incompatible & ~(uint32_t)INCOMPATIBLE_KNOWN)
                return "has a format that this libsystemd does not know";
        if (header_size < FILES_HEADER_SIZE || header_size > size)
                return "is damaged: its header says so";
        if (arena_size > size - header_size)
                return "is cut short";
        return NULL;
}

static void survey_skipped(Survey *s, const struct stat *st, int error, const char *fault,
        const char *path, const char *name)
{
        FilesReport *r = s->report;
        r->skipped++;
        if (r->n_list == FILES_SKIPPED_MAX)
                return;
        SkippedFile *f = &r->list[r->n_list++];
        *f = (SkippedFile){.id = {st->st_dev, st->st_ino},
                .changed_usec = (uint64_t)st->st_mtim.tv_sec * USEC_PER_SEC +
                                (uint64_t)st->st_mtim.tv_nsec / 1000,
                .error = error,
                .whole = !error && !fault};
        (void)snprintf(f->what, sizeof(f->what), "%s/%s: %s", path, name,
                error   ? strerror(error)
                : fault ? fault
                        : "damaged inside");
}

void sequences_saw(Sequences *s, const char *cursor)
{
        if (strncmp(cursor, "s=", 2) != 0 || strcspn(cursor, ";") != 2 + SEQUENCE_ID_LEN)
                return;
        const char *id = cursor + 2;
        unsigned known = s->n < SEQUENCES_MAX ? s->n : SEQUENCES_MAX;
        if (s->current >= known || memcmp(s->list[s->current].id, id, SEQUENCE_ID_LEN) != 0) {
                for (s->current = 0; s->current < known; s->current++)
                        if (memcmp(s->list[s->current].id, id, SEQUENCE_ID_LEN) == 0)
                                break;
                if (s->current == known) {
                        s->current = s->n++ % SEQUENCES_MAX;
                        memcpy(s->list[s->current].id, id, SEQUENCE_ID_LEN);
                        s->list[s->current].last = 0;
                }
        }
        uint64_t number = cursor_number(cursor, 'i');
        if (number > s->list[s->current].last)
                s->list[s->current].last = number;
}

// Does its header tell of entries that should have been seen, and were not?
static bool is_end_unread(const FilesSeen *seen, const uint8_t *head, size_t n)
{
        enum { SEQUENCE_AT = 72, ENTRIES_AT = 152, TAIL_NUMBER_AT = 160, TAIL_TIME_AT = 192 };
        char id[2 * 16 + 1];
        if (n < FILES_HEADER_SIZE || !seen || seen->sequences->n > SEQUENCES_MAX)
                return false;
        WireReader entries = wire_reader(slice_mem(head + ENTRIES_AT, 16));
        WireReader tail = wire_reader(slice_mem(head + TAIL_TIME_AT, 8));
        uint64_t n_entries = wire_u64(&entries), number = wire_u64(&entries);
        uint64_t time = wire_u64(&tail);
        if (n_entries == 0 || time < seen->from_usec || time >= seen->to_usec)
                return false;
        for (size_t i = 0; i < 16; i++)
                (void)snprintf(id + 2 * i, 3, "%02x", head[SEQUENCE_AT + i]);
        for (unsigned i = 0; i < seen->sequences->n; i++)
                if (memcmp(seen->sequences->list[i].id, id, SEQUENCE_ID_LEN) == 0)
                        return number > seen->sequences->list[i].last;
        return true;
}

static void survey_file(Survey *s, int dir_fd, const char *path, const char *name)
{
        struct stat st;
        uint8_t head[FILES_HEADER_SIZE];
        if (fstatat(dir_fd, name, &st, 0) < 0 || !S_ISREG(st.st_mode))
                return;
        s->report->files++;
        s->report->split |= strncmp(name, "user-", 5) == 0;
        FileId id = {st.st_dev, st.st_ino};
        bool is_open = bsearch(&id, s->open, s->n_open, sizeof(id), file_id_compare);
        s->report->open += is_open;
        if (is_open && !s->seen)
                return;
        _cleanup_(closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        int error = fd < 0 ? errno : 0;
        if (error == ENOENT) { // rotated away or vacuumed meanwhile
                s->report->files--;
                s->report->open -= is_open;
                return;
        }
        if (is_denial(error) && !is_open)
                survey_denied(s, &st, path, name);
        ssize_t n = error ? 0 : pread(fd, head, sizeof(head), 0);
        if (n < 0)
                error = errno;
        if (is_open) {
                if (!error && is_end_unread(s->seen, head, (size_t)n))
                        survey_skipped(s, &st, 0, "its end is damaged", path, name);
                return;
        }
        const char *fault =
                error ? NULL : files_header_fault(head, (size_t)n, (uint64_t)st.st_size);
        survey_skipped(s, &st, error, fault, path, name);
}

static bool ends_in(const char *name, const char *suffix)
{
        size_t n = strlen(name), m = strlen(suffix);
        return n > m && strcmp(name + n - m, suffix) == 0;
}

static bool is_journal_name(const char *name)
{
        return ends_in(name, ".journal") || ends_in(name, ".journal~");
}

// "MACHINE-ID" or "MACHINE-ID.NAMESPACE".
static bool is_journal_directory(const char *name)
{
        size_t n = 0;
        while (isxdigit((unsigned char)name[n]))
                n++;
        return n == MACHINE_ID_LEN && (!name[n] || (name[n] == '.' && name[n + 1]));
}

static void survey_directory(Survey *s, const char *path)
{
        DIR *d = opendir(path);
        if (!d) {
                int error = errno;
                struct stat st;
                if (error == ENOENT || error == ENOTDIR)
                        return;
                s->report->directories++;
                survey_denied(s, stat(path, &st) == 0 ? &st : NULL, path, "");
                return;
        }
        s->report->directories++;
        for (struct dirent *e; (e = readdir(d)) != NULL;)
                if (is_journal_name(e->d_name))
                        survey_file(s, dirfd(d), path, e->d_name);
        (void)closedir(d);
}

// Does this subdirectory of a root belong to what the options ask for?
static bool is_ours(const JournalOptions *o, const char *machine, bool runtime, const char *name)
{
        const char *ns = o->log_namespace ? o->log_namespace : "";
        if (!is_journal_directory(name))
                return false;
        if (o->directory)
                return true;
        if (!runtime && strncmp(name, machine, MACHINE_ID_LEN) != 0)
                return false;
        const char *its = name[MACHINE_ID_LEN] == '.' ? name + MACHINE_ID_LEN + 1 : "";
        if (strcmp(ns, "*") == 0)
                return true;
        return strcmp(its, ns[0] == '+' ? ns + 1 : ns) == 0 || (ns[0] == '+' && !its[0]);
}

static void survey_root(Survey *s, const JournalOptions *o, const char *machine, const char *root)
{
        char path[4096 + 256];
        bool runtime = strncmp(root, "/run/", 5) == 0;
        survey_directory(s, root);
        DIR *d = opendir(root);
        if (!d)
                return;
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
                int n = snprintf(path, sizeof(path), "%s/%s", root, e->d_name);
                if (n > 0 && (size_t)n < sizeof(path) && is_ours(o, machine, runtime, e->d_name))
                        survey_directory(s, path);
        }
        (void)closedir(d);
}

static void read_machine_id(char ret[static MACHINE_ID_LEN + 1])
{
        ret[0] = '\0';
        FILE *f = fopen("/etc/machine-id", "re");
        if (f && !fgets(ret, MACHINE_ID_LEN + 1, f))
                ret[0] = '\0';
        if (f)
                (void)fclose(f);
}

enum { ROOTS_MAX = 2 };

static unsigned roots_of(const JournalOptions *o, const char *ret[static ROOTS_MAX])
{
        ret[0] = o->directory ? o->directory : "/var/log/journal";
        ret[1] = "/run/log/journal";
        return o->directory ? 1 : 2;
}

unsigned files_roots_absent(const JournalOptions *o)
{
        const char *roots[ROOTS_MAX];
        struct stat st;
        unsigned absent = 0;
        for (unsigned i = roots_of(o, roots); i-- > 0;)
                absent += stat(roots[i], &st) < 0 ? errno == ENOENT || errno == ENOTDIR
                                                  : !S_ISDIR(st.st_mode);
        return absent;
}

int files_survey(const JournalOptions *o, const FilesSeen *seen, FilesReport *ret)
{
        char machine[MACHINE_ID_LEN + 1];
        const char *roots[ROOTS_MAX];
        Survey s = {.report = ret, .seen = seen};
        *ret = (FilesReport){.roots_absent = files_roots_absent(o)};
        int r = survey_open_files(&s);
        if (r >= 0) {
                read_machine_id(machine);
                for (unsigned i = 0, n = roots_of(o, roots); i < n; i++)
                        survey_root(&s, o, machine, roots[i]);
        }
        free(s.open);
        return r;
}
