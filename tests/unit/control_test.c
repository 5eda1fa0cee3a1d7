// SPDX-License-Identifier: MIT
// The control server with methods of the test's own behind it: framing, types, roles, streams, and
// what clients do that do not read, do not wait or do not stop talking.
#include "test.h"

#include "base/limits.h"
#include "hub/control_internal.h"
#include "torture.h"
#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>

typedef struct Fixture {
        char dir[64], path[96];
        sd_event *event;
        Control *control;
        unsigned runs, freed;
        uint64_t ticket, pieces, refused;
} Fixture;

// ---- the methods

static int run_echo(ControlCall *c, void *userdata)
{
        ((Fixture *)userdata)->runs++;
        return control_reply(
                c, json_pack("{s:s, s:I, s:b}", "text", control_get_string(c, "text", "none"),
                           "number", (json_int_t)control_get_int(c, "number", -1), "flag",
                           control_get_bool(c, "flag", false)));
}

static int run_fail(ControlCall *c, void *userdata)
{
        return -EIO;
}

static int run_large(ControlCall *c, void *userdata)
{
        char *text = malloc(LIMIT_CONTROL_CLIENT + 1);
        assert_non_null(text);
        memset(text, 'x', LIMIT_CONTROL_CLIENT);
        text[LIMIT_CONTROL_CLIENT] = 0;
        json_t *o = json_pack("{s:s}", "text", text);
        free(text);
        return control_reply(c, o);
}

static void count_free(void *state)
{
        ((Fixture *)state)->freed++;
}

static int run_later(ControlCall *c, void *userdata)
{
        Fixture *f = userdata;
        f->ticket = control_ticket(c);
        control_set_step(c, NULL, f, count_free);
        return 0;
}

enum { PIECE = 16 * 1024, PIECES = 256 }; // 4 MiB in all

static int flood_step(ControlCall *c, void *state)
{
        Fixture *f = state;
        char text[PIECE + 1];
        memset(text, 'y', PIECE);
        text[PIECE] = 0;
        if (f->pieces == PIECES)
                return control_reply(c, NULL);
        f->pieces++;
        return control_continue(c, json_pack("{s:s}", "text", text));
}

static int run_flood(ControlCall *c, void *userdata)
{
        control_set_step(c, flood_step, userdata, count_free);
        return 0;
}

static const ControlParameter echo_parameters[] = {{"text", CONTROL_STRING, true},
        {"number", CONTROL_INT, false}, {"flag", CONTROL_BOOL, false}, {0}};

static const ControlMethod methods[] = {
        {"Echo", CONTROL_READ, false, echo_parameters, run_echo},
        {"Change", CONTROL_ADMIN, false, NULL, run_fail},
        {"Large", CONTROL_READ, false, NULL, run_large},
        {"Later", CONTROL_READ, false, NULL, run_later},
        {"Flood", CONTROL_READ, true, NULL, run_flood},
};

// ---- fixture

static void allow(Fixture *f, const char *read, const char *admin)
{
        char *readers[] = {(char *)read, NULL}, *admins[] = {(char *)admin, NULL};
        char *const *const lists[_CONTROL_ROLE_MAX] = {
                [CONTROL_READ] = readers, [CONTROL_INJECT] = NULL, [CONTROL_ADMIN] = admins};
        _cleanup_(buf_deinitp) Buf unknown = BUF_INIT(1024);
        assert_int_equal(control_set_roles(f->control, lists, &unknown), 0);
        assert_int_equal(unknown.len, 0);
}

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));
        char self[16];
        Reason reason = {0};
        assert_non_null(f);
        (void)snprintf(f->dir, sizeof(f->dir), "/tmp/belfry-control-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        (void)snprintf(f->path, sizeof(f->path), "%s/control", f->dir);
        assert_true(sd_event_new(&f->event) >= 0);
        ControlOptions o = {.path = f->path,
                .methods = methods,
                .n_methods = N_ELEMENTS(methods),
                .userdata = f};
        assert_int_equal(control_new(&f->control, f->event, &o, &reason), 0);
        (void)snprintf(self, sizeof(self), "%u", geteuid());
        allow(f, self, self);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;
        (void)control_free(f->control);
        assert_int_equal(access(f->path, F_OK), -1); // it takes its socket away
        sd_event_unref(f->event);
        (void)rmdir(f->dir);
        free(f);
        return 0;
}

static int dial(const Fixture *f)
{
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        memcpy(a.sun_path, f->path, strlen(f->path));
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        return fd;
}

static void turn(Fixture *f)
{
        assert_true(sd_event_run(f->event, 1000) >= 0);
}

static void say(Fixture *f, int fd, const char *text, size_t len)
{
        while (len > 0) {
                ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        (void)sd_event_run(f->event, 100000);
                        continue;
                }
                text += n;
                len -= (size_t)n;
        }
}

// The next message; NULL at end of file. Bounded by turns, not by time.
static json_t *hear(Fixture *f, int fd)
{
        Buf b = BUF_INIT(4 << 20);
        char c = 1;
        for (unsigned idle = 0; idle < 20000;) {
                ssize_t n = recv(fd, &c, 1, 0);
                if (n == 1 && c) {
                        buf_add_char(&b, c);
                        continue;
                }
                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        turn(f);
                        idle++;
                        continue;
                }
                json_t *v = n == 1 ? json_loadb((char *)b.data, b.len, JSON_REJECT_DUPLICATES, NULL)
                                   : NULL;
                assert_true(n == 0 || v != NULL);
                buf_deinit(&b);
                return v;
        }
        fail_msg("no answer");
        return NULL;
}

static json_t *ask(Fixture *f, int fd, const char *request)
{
        say(f, fd, request, strlen(request) + 1);
        return hear(f, fd);
}

static void assert_error(json_t *answer, const char *error)
{
        assert_non_null(answer);
        assert_string_equal(json_string_value(json_object_get(answer, "error")), error);
        json_decref(answer);
}

static const char *text_of(json_t *answer, const char *key)
{
        const char *s =
                json_string_value(json_object_get(json_object_get(answer, "parameters"), key));
        assert_non_null(s);
        return s;
}

// ---- tests

static const char echo_request[] =
        "{\"method\":\"io.belfry.Control.Echo\",\"parameters\":{\"text\":\"hello\","
        "\"number\":7,\"flag\":true}}";

static void test_call(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        json_t *a = ask(f, fd, echo_request), *p = json_object_get(a, "parameters");
        assert_string_equal(text_of(a, "text"), "hello");
        assert_int_equal(json_integer_value(json_object_get(p, "number")), 7);
        assert_true(json_is_true(json_object_get(p, "flag")));
        assert_null(json_object_get(a, "continues"));
        json_decref(a);
        close(fd);
}

static void test_split_and_joined(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        for (size_t i = 0; i < sizeof(echo_request); i++) {
                say(f, fd, echo_request + i, 1);
                turn(f);
        }
        json_t *a = hear(f, fd);
        assert_string_equal(text_of(a, "text"), "hello");
        json_decref(a);

        char many[5 * sizeof(echo_request)];
        for (unsigned i = 0; i < 5; i++)
                memcpy(many + i * sizeof(echo_request), echo_request, sizeof(echo_request));
        say(f, fd, many, sizeof(many));
        for (unsigned i = 0; i < 5; i++)
                json_decref(hear(f, fd));
        assert_int_equal(f->runs, 6);
        close(fd);
}

static void test_half_closed_client_is_answered(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        say(f, fd, echo_request, sizeof(echo_request));
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        json_t *a = hear(f, fd);
        assert_string_equal(text_of(a, "text"), "hello");
        json_decref(a);
        assert_null(hear(f, fd)); // then it hangs up
        close(fd);
}

static void test_refusals(void **state)
{
        static const struct {
                const char *request, *error;
        } cases[] = {
                {"{\"method\":\"io.belfry.Control.Nope\"}", "org.varlink.service.MethodNotFound"},
                {"{\"method\":\"io.other.Echo\"}", "org.varlink.service.InterfaceNotFound"},
                {"{\"method\":\"Echo\"}", "org.varlink.service.InterfaceNotFound"},
                {"{\"method\":\"\"}", "org.varlink.service.InterfaceNotFound"},
                {"{\"method\":\"io.belfry.Control.Echo\"}", "org.varlink.service.InvalidParameter"},
                {"{\"method\":\"io.belfry.Control.Echo\",\"parameters\":{\"text\":1}}",
                        "org.varlink.service.InvalidParameter"},
                {"{\"method\":\"io.belfry.Control.Echo\",\"parameters\":{\"text\":null}}",
                        "org.varlink.service.InvalidParameter"},
                {"{\"method\":\"io.belfry.Control.Echo\",\"parameters\":{\"text\":\"a\",\"number\":"
                 "\"7\"}}",
                        "org.varlink.service.InvalidParameter"},
                {"{\"method\":\"io.belfry.Control.Echo\",\"parameters\":{\"text\":\"a\",\"other\":"
                 "1}}",
                        "org.varlink.service.InvalidParameter"},
                {"{\"method\":\"io.belfry.Control.Change\",\"parameters\":{\"x\":1}}",
                        "org.varlink.service.InvalidParameter"},
                {"{\"method\":\"io.belfry.Control.Change\"}", "io.belfry.Control.Failed"},
                {"{\"method\":\"io.belfry.Control.Flood\"}", "org.varlink.service.ExpectedMore"},
                {"{\"method\":\"io.belfry.Control.Large\"}", "io.belfry.Control.TooLarge"},
                {"{\"method\":\"org.varlink.service.Nope\"}", "org.varlink.service.MethodNotFound"},
                {"{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{"
                 "\"interface\":\"a.b\"}}",
                        "org.varlink.service.InterfaceNotFound"},
        };
        Fixture *f = *state;
        int fd = dial(f);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_error(ask(f, fd, cases[i].request), cases[i].error);
        json_decref(ask(f, fd, echo_request)); // the connection is as good as before
        close(fd);
}

static void test_nonsense_ends_the_connection(void **state)
{
        static const char *const requests[] = {"", "{", "[]", "1", "{\"method\":1}",
                "{\"method\":\"a.b\",\"method\":\"a.b\"}", "{\"method\":\"a.b\",\"parameters\":[]}",
                "{\"method\":\"a.b\",\"more\":1}", "{\"method\":\"a.b\"} x", "\xff\xfe"};
        Fixture *f = *state;
        for (size_t i = 0; i < N_ELEMENTS(requests); i++) {
                int fd = dial(f);
                assert_error(ask(f, fd, requests[i]), "io.belfry.Control.InvalidRequest");
                assert_null(hear(f, fd));
                close(fd);
        }
}

static void test_endless_request(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        char chunk[4096];
        memset(chunk, ' ', sizeof(chunk));
        for (size_t sent = 0; sent <= LIMIT_CONTROL_REQUEST + 65536; sent += sizeof(chunk)) {
                if (send(fd, chunk, sizeof(chunk), MSG_NOSIGNAL) < 0)
                        break;
                turn(f);
        }
        assert_error(hear(f, fd), "io.belfry.Control.InvalidRequest");
        close(fd);
}

static void test_oneway(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        static const char request[] = "{\"method\":\"io.belfry.Control.Echo\",\"oneway\":true,"
                                      "\"parameters\":{\"text\":\"a\"}}";
        say(f, fd, request, sizeof(request));
        json_t *a = ask(f, fd, echo_request); // the first answer belongs to this one
        assert_string_equal(text_of(a, "text"), "hello");
        assert_int_equal(f->runs, 2);
        json_decref(a);
        close(fd);
}

static void test_roles(void **state)
{
        Fixture *f = *state;
        char self[16], line[64];
        (void)snprintf(self, sizeof(self), "%u", geteuid());
        allow(f, self, "4294967290"); // nobody we are
        if (geteuid() >= 1000)
                skip(); // a person is admin of what they run
        int fd = dial(f);
        json_decref(ask(f, fd, echo_request));
        json_t *a = ask(f, fd, "{\"method\":\"io.belfry.Control.Change\"}");
        assert_string_equal(text_of(a, "role"), "admin");
        (void)snprintf(
                line, sizeof(line), "control = { admin = [ \"4294967290\", \"%s\" ]; };", self);
        assert_string_equal(text_of(a, "line"), line);
        assert_error(a, "io.belfry.Control.NotPermitted");
        // A method that does not exist is no secret; one that does refuses before its parameters.
        allow(f, "4294967290", "4294967290");
        assert_error(ask(f, fd, "{\"method\":\"io.belfry.Control.Echo\"}"),
                "io.belfry.Control.NotPermitted");
        // admin includes reading
        allow(f, "4294967290", self);
        json_decref(ask(f, fd, echo_request));
        close(fd);
}

static void test_groups_count(void **state)
{
        Fixture *f = *state;
        char group[16];
        (void)snprintf(group, sizeof(group), "@%u", getegid());
        allow(f, group, "4294967290");
        int fd = dial(f);
        json_decref(ask(f, fd, echo_request));
        close(fd);
}

static void test_unknown_names(void **state)
{
        Fixture *f = *state;
        char *readers[] = {(char *)"@belfry", (char *)"no-such-user-here", (char *)"@no-such-group",
                NULL},
             *admins[] = {(char *)"root", NULL};
        char *const *const lists[_CONTROL_ROLE_MAX] = {
                [CONTROL_READ] = readers, [CONTROL_INJECT] = NULL, [CONTROL_ADMIN] = admins};
        _cleanup_(buf_deinitp) Buf unknown = BUF_INIT(1024);
        assert_int_equal(control_set_roles(f->control, lists, &unknown), 0);
        assert_string_equal(buf_text(&unknown), "no-such-user-here, @no-such-group");
}

static void test_introspection(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        allow(f, "4294967290", "4294967290"); // anybody who gets in may ask what this is
        json_t *a = ask(f, fd, "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{}}");
        assert_string_equal(text_of(a, "product"), "belfryd");
        json_decref(a);
        a = ask(f, fd,
                "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{"
                "\"interface\":\"io.belfry.Control\"}}");
        assert_non_null(strstr(text_of(a, "description"), "\ninterface io.belfry.Control\n"));
        json_decref(a);
        close(fd);
}

static void test_stream_is_bounded(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        static const char request[] = "{\"method\":\"io.belfry.Control.Flood\",\"more\":true}";
        say(f, fd, request, sizeof(request));
        for (unsigned i = 0; i < 2000; i++)
                assert_true(sd_event_run(f->event, 0) >= 0);
        // Nothing is read: it has stopped somewhere in the middle, within its bound.
        const Client *c = TAILQ_FIRST(&f->control->clients);
        assert_true(f->pieces < PIECES);
        assert_true(c->out.len <= LIMIT_CONTROL_CLIENT && c->out.cap <= 2 * LIMIT_CONTROL_CLIENT);
        unsigned n = 0;
        for (;; n++) {
                json_t *a = hear(f, fd);
                bool more = json_is_true(json_object_get(a, "continues"));
                json_decref(a);
                if (!more)
                        break;
        }
        assert_int_equal(n, PIECES);
        assert_int_equal(f->freed, 1);
        close(fd);
}

static void test_answer_later(void **state)
{
        Fixture *f = *state;
        int fd = dial(f);
        static const char request[] = "{\"method\":\"io.belfry.Control.Later\"}";
        say(f, fd, request, sizeof(request));
        while (f->ticket == 0)
                turn(f);
        ControlCall *c = control_find(f->control, f->ticket);
        assert_non_null(c);
        assert_int_equal(control_reply(c, json_pack("{s:s}", "text", "at last")), 0);
        assert_null(control_find(f->control, f->ticket));
        json_t *a = hear(f, fd);
        assert_string_equal(text_of(a, "text"), "at last");
        json_decref(a);
        assert_int_equal(f->freed, 1);

        // A client that goes away takes its call along.
        f->ticket = 0;
        say(f, fd, request, sizeof(request));
        while (f->ticket == 0)
                turn(f);
        close(fd);
        for (unsigned i = 0; i < 1000 && f->control->n_clients; i++)
                turn(f);
        assert_int_equal(f->control->n_clients, 0);
        assert_null(control_find(f->control, f->ticket));
        assert_int_equal(f->freed, 2);
}

static void test_too_many_clients(void **state)
{
        Fixture *f = *state;
        unsigned most = geteuid() == 0 ? LIMIT_CONTROL_CLIENTS : LIMIT_CONTROL_CLIENTS / 2;
        int fds[LIMIT_CONTROL_CLIENTS];
        for (unsigned i = 0; i < most; i++) {
                fds[i] = dial(f);
                turn(f);
        }
        while (f->control->n_clients < most)
                turn(f);
        int extra = dial(f);
        assert_error(hear(f, extra), "io.belfry.Control.Busy");
        assert_null(hear(f, extra));
        close(extra);
        close(fds[0]);
        while (f->control->n_clients >= most)
                turn(f);
        extra = dial(f);
        json_decref(ask(f, extra, echo_request));
        close(extra);
        for (unsigned i = 1; i < most; i++)
                close(fds[i]);
}

static void test_socket_file(void **state)
{
        Fixture *f = *state;
        struct stat st;
        Control *other = NULL;
        Reason reason = {0};
        ControlOptions o = {.path = f->path, .methods = methods, .n_methods = N_ELEMENTS(methods)};
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0660);
        // Who has a role by name can open it, whatever its group.
        char self[16], acl[256];
        (void)snprintf(self, sizeof(self), "%u", geteuid());
        allow(f, "54321", self);
        assert_int_equal(stat(f->path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0660);
        ssize_t n = getxattr(f->path, "system.posix_acl_access", acl, sizeof(acl));
        assert_true(n < 0 ? errno == ENOTSUP || errno == ENODATA
                          : memmem(acl, (size_t)n, &(uint32_t){54321}, sizeof(uint32_t)) != NULL);
        assert_int_equal(control_new(&other, f->event, &o, &reason), -EADDRINUSE);
        assert_non_null(strstr(reason.text, f->path));

        // A file left behind by a process that was killed is no obstacle.
        f->control = control_free(f->control);
        struct sockaddr_un a = {.sun_family = AF_UNIX};
        memcpy(a.sun_path, f->path, strlen(f->path));
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        close(fd);
        assert_int_equal(control_new(&f->control, f->event, &o, &reason), 0);
}

static void test_roles_table(void **state)
{
        for (int i = 0; i < _CONTROL_ROLE_MAX; i++)
                assert_int_equal(control_role_from_string(control_role_to_string(i)), i);
        assert_null(control_role_to_string(_CONTROL_ROLE_MAX));
        assert_int_equal(control_role_from_string("writer"), _CONTROL_ROLE_INVALID);
}

static int roles_work(void *arg)
{
        char *names[] = {(char *)"root", (char *)"@0", (char *)"12345", NULL};
        char *const *const lists[_CONTROL_ROLE_MAX] = {names, names, names};
        _cleanup_(buf_deinitp) Buf unknown = BUF_INIT(1024);
        ControlRoles roles = {0};
        int r = control_roles_init(&roles, lists, &unknown);
        control_roles_deinit(&roles);
        return r;
}

static void test_roles_without_memory(void **state)
{
        assert_true(torture(roles_work, NULL) > 3);
}

int main(void)
{
#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
        const struct CMUnitTest tests[] = {
                WITH(test_call),
                WITH(test_split_and_joined),
                WITH(test_half_closed_client_is_answered),
                WITH(test_refusals),
                WITH(test_nonsense_ends_the_connection),
                WITH(test_endless_request),
                WITH(test_oneway),
                WITH(test_roles),
                WITH(test_groups_count),
                WITH(test_unknown_names),
                WITH(test_introspection),
                WITH(test_stream_is_bounded),
                WITH(test_answer_later),
                WITH(test_too_many_clients),
                WITH(test_socket_file),
                cmocka_unit_test(test_roles_table),
                cmocka_unit_test(test_roles_without_memory),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
