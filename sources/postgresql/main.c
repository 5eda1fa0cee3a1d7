// SPDX-License-Identifier: MIT
// belfry-source-postgresql: the module table. The only program of the family that links libpq.
#include "stream.h"

static int postgresql_start(
        Source *s, const void *options, Slice position, void **ret, Reason *reason)
{
        return stream_new(s, options, position, (Stream **)ret, reason);
}

static int postgresql_state(void *instance, Slice key, Slice value)
{
        return stream_state(instance, key, value);
}

static int postgresql_state_end(void *instance, bool more)
{
        return stream_state_end(instance, more);
}

static void postgresql_durable(void *instance, uint64_t batch)
{
        pump_durable(instance, batch);
}

static void postgresql_pause(void *instance)
{
        // Reading ends with the next turn; what was read waits.
}

static void postgresql_resume(void *instance)
{
        attach_go_on(instance);
        pump(instance); // which lets backfill go on too
}

static void postgresql_command(
        void *instance, uint64_t ticket, const char *verb, const json_t *arguments)
{
        doctor_command(instance, ticket, verb, arguments);
}

static void postgresql_stop(void *instance)
{
        stream_stop(instance);
}

static void postgresql_free(void *instance)
{
        (void)stream_free(instance);
}

int main(int argc, char **argv)
{
        const SourceModule module = {
                .name = "postgresql",
                .summary = "Changes of rows in PostgreSQL, by logical replication.",
                .options = postgresql_options,
                .n_options = n_postgresql_options,
                .options_size = sizeof(PostgresqlOptions),
                .types = postgresql_types,
                .n_types = n_postgresql_types,
                .needs_network = true,
                .commands = postgresql_commands,
                .n_commands = n_postgresql_commands,
                .check = postgresql_check,
                .start = postgresql_start,
                .state = postgresql_state,
                .state_end = postgresql_state_end,
                .durable = postgresql_durable,
                .pause = postgresql_pause,
                .resume = postgresql_resume,
                .command = postgresql_command,
                .stop = postgresql_stop,
                .free = postgresql_free,
        };
        return source_main(&module, argc, argv);
}
