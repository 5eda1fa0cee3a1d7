// SPDX-License-Identifier: MIT
// Reading the secret behind a reference. The value is in one buffer that the caller wipes; no copy
// is left behind, no message holds it.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/limits.h"
#include "config/option_table.h"

static void wipe(Buf *b)
{
        if (b->data)
                explicit_bzero(b->data, b->cap);
        buf_deinit(b);
}

static int explain(Reason *reason, int r, const char *reference)
{
        if (r == -ENOENT && strncmp(reference, "credential:", 11) == 0)
                return reason_set(reason, r,
                        "%s: there is no such credential (add LoadCredential=%s:PATH to the unit)",
                        reference, reference + 11);
        if (r == -EPERM)
                return reason_set(reason, r,
                        "%s: group or others can read or write it (chmod 0600 it)", reference);
        if (r == -EFBIG)
                return reason_set(reason, r, "%s: is over %u bytes", reference, LIMIT_SECRET_FILE);
        return reason_errno(reason, r, "%s", reference);
}

static int reference_path(
        const char *reference, const char *credentials_dir, char ret[static PATH_MAX])
{
        int n;
        if (strncmp(reference, "file:", 5) == 0)
                n = snprintf(ret, PATH_MAX, "%s", reference + 5);
        else if (credentials_dir)
                n = snprintf(ret, PATH_MAX, "%s/%s", credentials_dir, reference + 11);
        else
                return -ENOENT;
        return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int read_reference(const char *reference, const char *credentials_dir, Buf *out)
{
        char path[PATH_MAX];
        int r = reference_path(reference, credentials_dir, path);
        if (r < 0)
                return r;
        // systemd keeps credentials private by an access list, which shows as group bits in the mode.
        return strncmp(reference, "file:", 5) == 0 ? file_read_private(path, out)
                                                   : file_read(AT_FDCWD, path, out);
}

int option_secret_look(
        const char *reference, const char *credentials_dir, bool as_myself, Reason *reason)
{
        char path[PATH_MAX];
        struct stat st;
        int r = reference_path(reference, credentials_dir, path);
        if (r >= 0 && stat(path, &st) < 0)
                r = -errno;
        if (r >= 0 && !S_ISREG(st.st_mode))
                r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
        if (r >= 0 && strncmp(reference, "file:", 5) == 0 && (st.st_mode & 077))
                r = -EPERM;
        if (r >= 0 && st.st_size > LIMIT_SECRET_FILE)
                r = -EFBIG;
        if (r >= 0 && as_myself && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) < 0)
                r = -errno;
        if (r >= 0 && st.st_size == 0)
                return reason_set(reason, -EINVAL, "%s: is empty", reference);
        return r < 0 ? explain(reason, r, reference) : 0;
}

int option_secret_read(const char *reference, const char *credentials_dir, char **ret,
        size_t *ret_len, Reason *reason)
{
        int r = option_check_reference(reference, reason);
        if (r < 0)
                return r;
        // Room for all of it at once: growing would leave copies behind. One byte more for the NUL.
        Buf b = BUF_INIT(LIMIT_SECRET_FILE + 1);
        if (!buf_grow(&b, LIMIT_SECRET_FILE + 1))
                return reason_set(reason, -ENOMEM, "out of memory");
        b.len = 0;
        b.max = LIMIT_SECRET_FILE;
        r = read_reference(reference, credentials_dir, &b);
        if (r < 0) {
                wipe(&b);
                return explain(reason, r, reference);
        }
        if (b.len > 0 && b.data[b.len - 1] == '\n')
                b.len--;
        if (b.len > 0 && b.data[b.len - 1] == '\r')
                b.len--;
        if (b.len == 0 || memchr(b.data, 0, b.len)) {
                const char *what = b.len == 0 ? "is empty" : "holds a NUL byte";
                wipe(&b);
                return reason_set(reason, -EINVAL, "%s: %s", reference, what);
        }
        char *secret = malloc(b.len + 1);
        if (secret) {
                memcpy(secret, b.data, b.len);
                secret[b.len] = 0;
                *ret = secret;
                *ret_len = b.len;
        }
        wipe(&b);
        return secret ? 0 : reason_set(reason, -ENOMEM, "out of memory");
}

void option_secret_wipe(char *secret, size_t len)
{
        if (!secret)
                return;
        explicit_bzero(secret, len);
        free(secret);
}
