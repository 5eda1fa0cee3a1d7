// SPDX-License-Identifier: MIT
// The pure parts of the exec source: what a program's line may say, where its
// output is, how fast it may come.
#include "test.h"

#include "place.h"
#include "rate.h"
#include "torture.h"

#include "event/line.h"

#include <errno.h>

// ---- lines of a program

static const struct {
  const char *line, *error; // NULL: taken
  const char *type, *key, *position;
  bool ready;
} lines[] = {
    {"{\"type\":\"a\"}", NULL, "a", NULL, NULL, false},
    {" {\"type\":\"a\",\"id\":\"k\",\"position\":\"\\u00e4 1\"} ", NULL, "a",
     "k", "\xc3\xa4 1", false},
    {"{\"position\":\"p\"}", NULL, "", NULL, "p", false},
    {"{\"ready\":true}", NULL, "", NULL, NULL, true},
    {"{\"ready\":true,\"position\":\"p\",\"type\":\"a\"}", NULL, "a", NULL, "p",
     true},
    {"{}", "type is missing", NULL, NULL, NULL, false},
    {"{\"id\":\"x\"}", "type is missing", NULL, NULL, NULL, false},
    {"{\"ready\":false}", "ready is not true", NULL, NULL, NULL, false},
    {"{\"ready\":1}", "ready is not true", NULL, NULL, NULL, false},
    {"{\"position\":7}", "position is not a string", NULL, NULL, NULL, false},
    {"{\"position\":\"\"}", "position is empty", NULL, NULL, NULL, false},
    {"{\"position\":\"a\\nb\"}", "control character", NULL, NULL, NULL, false},
    {"{\"position\":\"a\\u0000\"}", "control character", NULL, NULL, NULL,
     false},
    {"{\"type\":\"source.gap\",\"position\":\"p\"}", "may use", NULL, NULL,
     NULL, false},
    {"{\"type\":\"a\",\"pos\":\"p\"}", "position, ready and data", NULL, NULL,
     NULL, false},
    {"{\"position\":\"a\",\"position\":\"a\"}", "position is given twice", NULL,
     NULL, NULL, false},
};

static void test_lines(void **state) {
  EventParser p;
  event_parser_init(&p);
  for (size_t i = 0; i < N_ELEMENTS(lines); i++) {
    EventLine l;
    Reason reason = {0};
    int r = event_line_parse(&p, slice_of(lines[i].line), true, &l, &reason);
    if (lines[i].error) {
      assert_int_equal(r, -EINVAL);
      if (!strstr(reason.text, lines[i].error))
        fail_msg("%s: %s", lines[i].line, reason.text);
      continue;
    }
    assert_int_equal(r, 0);
    assert_string_equal(l.type, lines[i].type);
    assert_slice(l.key, lines[i].key);
    assert_slice(l.position, lines[i].position);
    assert_int_equal(l.ready, lines[i].ready);
  }
  event_parser_deinit(&p);
}

static void test_an_application_has_no_position(void **state) {
  EventParser p;
  EventLine l;
  Reason reason = {0};
  event_parser_init(&p);
  assert_int_equal(
      event_line_parse(&p, SLICE_LIT("{\"type\":\"a\",\"position\":\"p\"}"),
                       false, &l, &reason),
      -EINVAL);
  assert_non_null(strstr(reason.text, "unknown member \"position\""));
  event_parser_deinit(&p);
}

static void test_the_longest_position(void **state) {
  char line[EVENT_LINE_POSITION_MAX + 32];
  EventParser p;
  EventLine l;
  event_parser_init(&p);
  for (size_t n = EVENT_LINE_POSITION_MAX; n <= EVENT_LINE_POSITION_MAX + 1;
       n++) {
    size_t at = (size_t)snprintf(line, sizeof(line), "{\"position\":\"");
    memset(line + at, 'x', n);
    (void)snprintf(line + at + n, sizeof(line) - at - n, "\"}");
    assert_int_equal(event_line_parse(&p, slice_of(line), true, &l, NULL),
                     n > EVENT_LINE_POSITION_MAX ? -EINVAL : 0);
  }
  event_parser_deinit(&p);
}

static int parse_without_memory(void *arg) {
  EventParser p;
  EventLine l;
  event_parser_init(&p);
  int r =
      event_line_parse(&p,
                       SLICE_LIT("{\"type\":\"a\",\"id\":\"k\",\"position\":"
                                 "\"p\",\"subject\":\"\\u00e4\"}"),
                       true, &l, NULL);
  event_parser_deinit(&p);
  return r;
}

static void test_lines_without_memory(void **state) {
  assert_true(torture(parse_without_memory, NULL) > 0);
}

// ---- where the output is

static void test_place(void **state) {
  Place p = {0}, q;
  char text[PLACE_TEXT_MAX], name[PLACE_ID_MAX];
  assert_slice(place_name(&p, name), "p:0:");
  p.index++;
  assert_slice(place_name(&p, name), "p:1:");
  place_move(&p, SLICE_NULL);
  assert_int_equal(p.index, 1);
  place_move(&p, SLICE_LIT("at 7"));
  p.index = 12;
  place_move(&p, SLICE_LIT("at 7")); // where it is: the count goes on
  assert_slice(place_name(&p, name), "p:12:at 7");
  size_t n = place_text(&p, text);
  assert_slice(slice_mem(text, n), "1 12 at 7");
  assert_int_equal(place_parse(&q, slice_mem(text, n)), 0);
  assert_string_equal(q.position, "at 7");
  assert_int_equal(q.index, 12);
  place_move(&p, SLICE_LIT("b"));
  assert_slice(place_name(&p, name), "p:0:b");
}

static void test_places_that_are_damaged(void **state) {
  static const char *const bad[] = {
      "",        "1",      "1 ",
      "1 5",     "2 5 a",  "1  a",
      "1 x a",   "1 -1 a", "1 1234567890123456789 a",
      "1 5 \xff"};
  char longest[PLACE_TEXT_MAX + 8];
  Place p = {.index = 3};
  for (size_t i = 0; i < N_ELEMENTS(bad); i++)
    assert_int_equal(place_parse(&p, slice_of(bad[i])), -EINVAL);
  memset(longest, 'x', sizeof(longest));
  memcpy(longest, "1 0 ", 4);
  assert_int_equal(
      place_parse(&p, slice_mem(longest, 4 + EVENT_LINE_POSITION_MAX + 1)),
      -EINVAL);
  assert_int_equal(p.index, 3);
  assert_int_equal(
      place_parse(&p, slice_mem(longest, 4 + EVENT_LINE_POSITION_MAX)), 0);
  assert_int_equal(place_parse(&p, SLICE_LIT("1 9 ")), 0);
  assert_string_equal(p.position, "");
}

// ---- the rate

static void test_rate(void **state) {
  uint64_t now = 1000 * 1000;
  Rate r = rate_new(10, 1000 * 1000, now);
  for (int i = 0; i < 10; i++) {
    assert_true(rate_has(&r, now));
    rate_take(&r);
  }
  assert_false(rate_has(&r, now));
  uint64_t wait = rate_wait_usec(&r);
  assert_in_range(wait, 100 * 1000, 101 * 1000);
  assert_true(rate_has(&r, now + wait));
  rate_take(&r);
  // After a long pause a span's worth, no more.
  now += 3600 * UINT64_C(1000000);
  for (int i = 0; i < 10; i++) {
    assert_true(rate_has(&r, now));
    rate_take(&r);
  }
  assert_false(rate_has(&r, now));
}

static void test_rate_of_nothing(void **state) {
  Rate r = rate_new(0, 1000, 0);
  assert_false(rate_has(&r, 5000 * 1000));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_lines),
      cmocka_unit_test(test_an_application_has_no_position),
      cmocka_unit_test(test_the_longest_position),
      cmocka_unit_test(test_lines_without_memory),
      cmocka_unit_test(test_place),
      cmocka_unit_test(test_places_that_are_damaged),
      cmocka_unit_test(test_rate),
      cmocka_unit_test(test_rate_of_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
