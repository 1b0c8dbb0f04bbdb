/* A client of a fixed rate over keep-alive HTTP/1.1 connections, without coordinated omission.
 *
 * Request i is due at start + i / rate, on connection i mod CONNECTIONS, whatever became of the ones before. Its
 * latency counts from the time it was due, so a request that has to wait for the answer before it on its
 * connection pays for that. What is unanswered when the patience ends counts as failed, with the time it has waited.
 *
 *   pace PORT RATE SECONDS SKIP_SECONDS PATIENCE_SECONDS CONNECTIONS REQUEST_FILE LATENCIES_FILE
 *
 * REQUEST_FILE holds the bytes of the request. LATENCIES_FILE gets one uint32 of microseconds for each request due
 * after the first SKIP_SECONDS. Prints: due answered failed most-behind-microseconds. Answers need a Content-Length.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 16384, READ_BYTES = 1 << 18 };

struct connection {
    int fd;
    int busy;          /* a request is under way */
    long next;         /* the number of the request under way, or of the next one */
    size_t written;    /* of the request under way */
    size_t head_bytes; /* of the answer's head so far; 0 once the body is being read */
    long body_left;
    char head[HEAD_BYTES];
};

static int port, epoll, timer, connections;
static double rate;
static long total, skipped, answered, failed;
static int64_t start, most_behind;
static uint32_t *latencies;
static char *request;
static size_t request_bytes;
static struct connection *all;
static char scratch[READ_BYTES];

static void die(const char *what) { perror(what); exit(2); }

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t due(long number) { return start + (int64_t)(number * 1e9 / rate); }

static void dial(struct connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof to)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->head_bytes = 0;
    c->body_left = -1;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
}

static void over(struct connection *c, int is_right) {
    int64_t waited = (now() - due(c->next)) / 1000;
    if (c->next >= skipped) latencies[c->next - skipped] = waited > UINT32_MAX ? UINT32_MAX : (uint32_t)waited;
    if (is_right) answered++; else failed++;
    c->busy = 0;
    c->next += connections;
}

static void lost(struct connection *c) {
    if (c->busy) over(c, 0);
    close(c->fd);
    dial(c);
}

static void watch(struct connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static void put(struct connection *c) {
    ssize_t n = send(c->fd, request + c->written, request_bytes - c->written, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) { lost(c); return; }
    int was_partial = c->written > 0;
    if (n > 0) c->written += n;
    if (c->written < request_bytes) watch(c, EPOLLIN | EPOLLOUT);
    else if (was_partial) watch(c, EPOLLIN);
}

/* Send the next request of *c* if it is due. */
static void proceed(struct connection *c, int64_t at) {
    if (c->busy || c->next >= total || due(c->next) > at) return;
    c->busy = 1;
    c->written = 0;
    c->head_bytes = 0;
    c->body_left = -1;
    put(c);
}

/* Where the body begins, once the head is whole: sets body_left; 0 while it is not; -1 when it is not to be had. */
static long head_end(struct connection *c) {
    char *end = memmem(c->head, c->head_bytes, "\r\n\r\n", 4);
    if (!end) return c->head_bytes < HEAD_BYTES ? 0 : -1;
    for (char *line = c->head; line < end; line = strstr(line, "\r\n") + 2) {
        if (!strncasecmp(line, "content-length:", 15)) c->body_left = atol(line + 15);
        if (line >= end + 2) break;
    }
    return c->body_left < 0 ? -1 : end + 4 - c->head;
}

static void get(struct connection *c) {
    for (;;) {
        ssize_t n = recv(c->fd, scratch, READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0 || !c->busy) { lost(c); return; }
        if (c->body_left < 0) {
            size_t before = c->head_bytes, taken = n;
            if (taken > HEAD_BYTES - 1 - before) taken = HEAD_BYTES - 1 - before;
            memcpy(c->head + before, scratch, taken);
            c->head_bytes += taken;
            c->head[c->head_bytes] = 0;
            long body = head_end(c);
            if (body < 0 || (!body && c->head_bytes == HEAD_BYTES - 1)) { lost(c); return; }
            if (!body) continue;
            n -= body - (long)before;
        }
        c->body_left -= n;
        if (c->body_left < 0) { lost(c); return; }
        if (!c->body_left) {
            over(c, !strncmp(c->head + 8, " 200", 4));
            proceed(c, now());
            if (n < READ_BYTES) return;
        } else if (n < READ_BYTES) return;
    }
}

static void arm(long number) {
    int64_t at = due(number);
    struct itimerspec spec = {.it_value = {at / 1000000000, at % 1000000000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void run(int64_t patience) {
    struct epoll_event events[256];
    long scheduled = 0; /* requests whose time has come */
    int64_t end = due(total) + patience;
    arm(0);
    while (answered + failed < total) {
        int64_t left = end - now();
        if (left <= 0) break;
        int n = epoll_wait(epoll, events, 256, left / 1000000 + 1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (c) {
                if (events[i].events & EPOLLOUT) put(c);
                if (events[i].events & ~EPOLLOUT) get(c);
                continue;
            }
            uint64_t ticks;
            if (read(timer, &ticks, sizeof ticks) < 0) continue;
            int64_t at = now();
            if (scheduled < total && at - due(scheduled) > most_behind) most_behind = at - due(scheduled);
            for (; scheduled < total && due(scheduled) <= at; scheduled++) proceed(&all[scheduled % connections], at);
            if (scheduled < total) arm(scheduled);
        }
    }
    for (int i = 0; i < connections; i++)
        while (all[i].next < total) over(&all[i], 0);
}

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    request = malloc(1 << 24);
    request_bytes = fread(request, 1, 1 << 24, file);
    fclose(file);
}

int main(int count, char **words) {
    if (count != 9) { fprintf(stderr, "see the head of pace.c\n"); return 2; }
    port = atoi(words[1]);
    rate = atof(words[2]);
    total = rate * atof(words[3]);
    skipped = rate * atof(words[4]);
    connections = atoi(words[6]);
    load(words[7]);
    signal(SIGPIPE, SIG_IGN);
    latencies = calloc(total - skipped + 1, sizeof *latencies);
    all = calloc(connections, sizeof *all);
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event)) die("timerfd");
    for (int i = 0; i < connections; i++) {
        all[i].next = i;
        dial(&all[i]);
    }
    start = now() + 50000000; /* so that the first ones are not late already */
    run((int64_t)(atof(words[5]) * 1e9));
    FILE *file = fopen(words[8], "wb");
    if (!file || fwrite(latencies, sizeof *latencies, total - skipped, file) != (size_t)(total - skipped)) die(words[8]);
    fclose(file);
    printf("%ld %ld %ld %ld\n", total, answered, failed, (long)(most_behind / 1000));
    return 0;
}
