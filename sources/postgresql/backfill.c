// SPDX-License-Identifier: MIT
// Nothing is read yet: the face of the part alone.
#include "backfill.h"

#include "base/buf.h"

int backfill_new(Stream *s, Backfill **ret)
{
        *ret = NULL;
        return 0;
}

Backfill *backfill_free(Backfill *b)
{
        return NULL;
}

int backfill_load(Backfill *b, Slice key, Slice value)
{
        return 1;
}

void backfill_request_all(Backfill *b)
{
}

void backfill_running(Backfill *b)
{
}

void backfill_interrupted(Backfill *b)
{
}

void backfill_work(Backfill *b)
{
}

void backfill_command(Backfill *b, uint64_t ticket, const json_t *arguments)
{
}

json_t *backfill_stats(const Backfill *b)
{
        return NULL;
}
