// SPDX-License-Identifier: MIT
// libcurl's multi interface on an sd-event loop, as ONE event source: libcurl's sockets stand in an
// epoll descriptor of their own, and its one timer in one time source. Mapping each socket to an
// event source costs four times as much for a request.
#pragma once

#include "base/cleanup.h"
#include <curl/curl.h>
#include <systemd/sd-event.h>

typedef struct Pump Pump;

// A handle added with pump_add() has ended and is out of the multi handle again. Called from the
// loop or from within pump_add(); it may call pump_add() and pump_remove().
typedef void (*PumpDone)(CURL *easy, CURLcode result, void *userdata);

// max_idle: connections kept open for later requests.
int pump_new(
        Pump **ret, sd_event *event, unsigned max_idle, PumpDone done, void *userdata) _must_use_;
Pump *pump_free(Pump *p); // every handle has been removed; NULL is fine
DEFINE_CLEANUP(Pump, pump_free)

int pump_add(Pump *p, CURL *easy) _must_use_; // -ENOMEM or -EIO: done() will not be called
void pump_remove(Pump *p, CURL *easy);        // done() will not be called

// For CURLOPT_OPENSOCKETFUNCTION: a socket that libcurl will close through pump_socket_close(), the
// CURLOPT_CLOSESOCKETFUNCTION of every handle (its userdata is the Pump).
int pump_socket_opened(Pump *p, int fd) _must_use_;
int pump_socket_close(void *pump, curl_socket_t fd);
