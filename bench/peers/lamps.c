/* Many lamps in one thread: the load generator of the benches of gateways.
 *
 *     lamps PORT PATH HELLOS ws|mqtt
 *
 * HELLOS has one line a lamp: what it says when it is connected (empty: nothing). Lamps speak WebSocket (RFC 6455) or
 * MQTT 3.1.1 (they subscribe to "level"). Commands come as lines on stdin; each is answered by one line of JSON:
 *
 *     connect CONCURRENCY      open all connections, so many at a time
 *     mark SEQ NS              a level with this "seq" was sent at this time (monotonic clock); no answer
 *     report WAIT_MS           listen so long, then tell how soon the marked levels came; marks are forgotten
 *     keepalives ROUNDS GAP_MS each lamp sends so many keepalives
 *     numbers EVERY            from now on every EVERYth keepalive has numbers in it, and readings follow every third of
 *                              these: real ones do so with 10. 0: neither. No answer; WebSocket only
 *     live EVERY_MS MS         each lamp sends a keepalive so often, for so long
 *     storm MS                 come back after whatever ends connections, for at most so long, until all are back
 *     spare MS                 do nothing but listen; tell how busy this process was
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
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum state { CLOSED, CONNECTING, UPGRADING, OPEN };
enum { LINE = 4096, MARKS = 256, READ = 65536, KEPT = 8192, EVENTS = 1024, PER_ADDRESS = 20000 };

struct lamp {
    int fd, number;
    enum state state;
    uint64_t again_ns, backoff_ns, fresh_ns; /* when to connect again; how long it waits then; first frame since */
    int told;                                /* it was told when to come back */
    int held;                                /* bytes of an incomplete message in kept */
    unsigned sent;                           /* keepalives */
    uint8_t *kept;
    char *hello;
};

static struct lamp *lamps;
static int count, open_count, under_way, port, mqtt, poll_fd;
static const char *path;
static uint64_t frames, refused, told_when, untold, attempts;
static struct { uint64_t seq, at_ns; } marks[MARKS];
static uint64_t *arrived[MARKS];
static int arrivals[MARKS], mark_count;
static const uint8_t MASK[4] = {0x37, 0xfa, 0x21, 0x3d};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static double cpu_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int masked(uint8_t *out, const char *text, int length) {
    int at = 0;
    out[at++] = 0x81;
    if (length < 126) out[at++] = 0x80 | length;
    else { out[at++] = 0x80 | 126; out[at++] = length >> 8; out[at++] = length & 255; }
    memcpy(out + at, MASK, 4);
    at += 4;
    for (int i = 0; i < length; i++) out[at + i] = text[i] ^ MASK[i & 3];
    return at + length;
}

static void watch(struct lamp *lamp, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = lamp};
    epoll_ctl(poll_fd, how, lamp->fd, &event);
}

static void ended(struct lamp *lamp) {
    if (lamp->state == OPEN) open_count--;
    else if (lamp->state != CLOSED) { under_way--; refused++; }
    if (lamp->fd >= 0) close(lamp->fd);
    lamp->fd = -1;
    lamp->state = CLOSED;
    lamp->held = 0;
    free(lamp->kept);
    lamp->kept = NULL;
    if (!lamp->told) {
        /* Up to 0.5 s more than was waited since it was welcomed, and up to 30 s: as esp32/lamp/backoff.py does. */
        uint64_t wait_ns = (uint64_t)(drand48() * lamp->backoff_ns);
        lamp->again_ns = now_ns() + wait_ns;
        lamp->backoff_ns += wait_ns;
        if (lamp->backoff_ns > 30000000000ull) lamp->backoff_ns = 30000000000ull;
    }
    lamp->told = 0;
}

static void rest(struct lamp *lamp, uint64_t wait_ns) {
    lamp->again_ns = now_ns() + wait_ns;
    lamp->told = 1;
}

static void come_back(struct lamp *lamp, uint64_t wait_ns) {
    rest(lamp, wait_ns);
    told_when++;
}

/* What lamps do that are closed with a code and are not told when to return. */
static void refused_with(struct lamp *lamp, int code) {
    untold++;
    if (code == 4001 || code == 4003 || code == 4004) rest(lamp, (uint64_t)((30 + drand48() * 30) * 1e9));
    if (code == 4002) rest(lamp, (uint64_t)((5 + drand48() * 5) * 1e9));
}

static void begin(struct lamp *lamp) {
    int one = 1;
    lamp->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (lamp->fd < 0) { perror("socket"); exit(1); }
    setsockopt(lamp->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* One address has too few ports for all lamps. */
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000101 + lamp->number / PER_ADDRESS)};
    setsockopt(lamp->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bind(lamp->fd, (void *)&from, sizeof from);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    lamp->state = CONNECTING;
    under_way++;
    attempts++;
    if (connect(lamp->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) { ended(lamp); return; }
    watch(lamp, EPOLLOUT, EPOLL_CTL_ADD);
}

static void ask(struct lamp *lamp) {
    uint8_t out[512];
    int length;
    if (mqtt) {
        char name[24];
        int n = snprintf(name, sizeof name, "lamp-%d", lamp->number);
        uint8_t *at = out;
        *at++ = 0x10; *at++ = 12 + n;
        memcpy(at, "\0\4MQTT\4\2\0\0\0", 11); at += 11;
        *at++ = n; memcpy(at, name, n); at += n;
        memcpy(at, "\x82\x0a\0\1\0\5level\0", 12); at += 12;
        length = at - out;
    } else {
        length = snprintf((char *)out, sizeof out,
            "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path);
    }
    if (send(lamp->fd, out, length, MSG_NOSIGNAL) != length) { ended(lamp); return; }
    lamp->state = UPGRADING;
    watch(lamp, EPOLLIN, EPOLL_CTL_MOD);
}

static void opened(struct lamp *lamp) {
    uint8_t out[LINE + 16];
    lamp->state = OPEN;
    under_way--;
    open_count++;
    if (*lamp->hello) {
        int length = masked(out, lamp->hello, strlen(lamp->hello));
        if (send(lamp->fd, out, length, MSG_NOSIGNAL) != length) ended(lamp);
    }
}

/* Note when a level came; "seq" is found in the bytes, for parsing would take too long. */
static void heard(struct lamp *lamp, const uint8_t *text, int length) {
    frames++;
    if (!lamp->fresh_ns) lamp->fresh_ns = now_ns();
    lamp->backoff_ns = 500000000ull;
    const uint8_t *found = memmem(text, length, "\"seq\"", 5), *end = text + length;
    if (!found) return;
    for (found += 5; found < end && (*found < '0' || *found > '9'); found++);
    uint64_t seq = 0;
    for (; found < end && *found >= '0' && *found <= '9'; found++) seq = seq * 10 + (*found - '0');
    for (int i = mark_count - 1; i >= 0; i--)
        if (marks[i].seq == seq && arrivals[i] < count) { arrived[i][arrivals[i]++] = now_ns(); return; }
    /* It may come before the mark does: unmarked levels wait in the last row. */
    if (mark_count < MARKS && seq) {
        marks[mark_count].seq = seq;
        marks[mark_count].at_ns = 0;
        if (!arrived[mark_count]) arrived[mark_count] = malloc(count * sizeof(uint64_t));
        arrivals[mark_count] = 0;
        arrived[mark_count][arrivals[mark_count]++] = now_ns();
        mark_count++;
    }
}

/* Return how many bytes were understood, or -1 if the connection is over. */
static int understand(struct lamp *lamp, uint8_t *data, int length) {
    int at = 0;
    if (lamp->state == UPGRADING && !mqtt) {
        uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
        if (!end) return 0;
        if (memcmp(data, "HTTP/1.1 101", 12)) {
            *end = 0;
            char *found = strcasestr((char *)data, "retry-after:");
            /* A lamp looks at its clock each 50 ms. */
            if (found) come_back(lamp, (uint64_t)((atof(found + 12) + drand48() * 0.05) * 1e9));
            else untold++;
            return -1;
        }
        opened(lamp);
        at = end + 4 - data;
    }
    while (lamp->fd >= 0 && length - at >= 2) {
        uint8_t *head = data + at;
        int size = 0, header = 2;
        if (mqtt) {
            int shift = 0;
            header = 1;
            do {
                if (header >= length - at) return at;
                size |= (head[header] & 127) << shift;
                shift += 7;
            } while (head[header++] & 128);
            if (length - at < header + size) break;
            if (head[0] >> 4 == 9) opened(lamp);
            else if (head[0] >> 4 == 3) heard(lamp, head + header, size);
        } else {
            size = head[1] & 127;
            if (size == 126) { if (length - at < 4) break; size = head[2] << 8 | head[3]; header = 4; }
            if (length - at < header + size) break;
            int code = head[0] & 15;
            if (code == 1) heard(lamp, head + header, size);
            else if (code == 9) {
                uint8_t out[160] = {0x8a, 0x80 | size};
                memcpy(out + 2, MASK, 4);
                for (int i = 0; i < size; i++) out[6 + i] = head[header + i] ^ MASK[i & 3];
                send(lamp->fd, out, 6 + size, MSG_NOSIGNAL | MSG_DONTWAIT);
            } else if (code == 8) {
                char *found = memmem(head + header, size, "retry_after_ms=", 15);
                if (found) come_back(lamp, strtoull(found + 15, NULL, 10) * 1000000ull);
                else refused_with(lamp, size < 2 ? 0 : head[header] << 8 | head[header + 1]);
                return -1;
            }
        }
        at += header + size;
    }
    return at;
}

static void readable(struct lamp *lamp) {
    static uint8_t data[KEPT + READ + 1];
    memcpy(data, lamp->kept ? lamp->kept : data, lamp->held);
    int got = recv(lamp->fd, data + lamp->held, READ, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) { ended(lamp); return; }
    int length = lamp->held + got, used = understand(lamp, data, length);
    if (used < 0) { ended(lamp); return; }
    if (lamp->fd < 0) return;
    lamp->held = length - used;
    if (lamp->held > KEPT) { fprintf(stderr, "a message is too long\n"); exit(1); }
    if (lamp->held) {
        lamp->kept = realloc(lamp->kept, lamp->held);
        memcpy(lamp->kept, data + used, lamp->held);
    }
}

/* Take what has come; return whether there is a command. */
static int listen_for(int wait_ms) {
    static struct epoll_event events[EVENTS];
    int command = 0, ready = epoll_wait(poll_fd, events, EVENTS, wait_ms);
    for (int i = 0; i < ready; i++) {
        struct lamp *lamp = events[i].data.ptr;
        if (!lamp) { command = 1; continue; }
        if (lamp->fd < 0) continue;
        if (lamp->state == CONNECTING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(lamp->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) ended(lamp);
            else ask(lamp);
        } else readable(lamp);
    }
    return command;
}

static void connect_all(int concurrency) {
    uint64_t begun_ns = now_ns();
    attempts = refused = 0;
    for (int at = 0; open_count < count && now_ns() - begun_ns < 120000000000ull;) {
        for (int tried = 0; tried < count && under_way < concurrency; tried++, at = (at + 1) % count)
            if (lamps[at].state == CLOSED && lamps[at].again_ns <= now_ns()) begin(&lamps[at]);
        listen_for(1);
    }
    printf("{\"open\": %d, \"s\": %.4f, \"refused\": %lu}\n", open_count, (now_ns() - begun_ns) / 1e9, refused);
}

static int rising(const void *a, const void *b) {
    double left = *(double *)a, right = *(double *)b;
    return (left > right) - (left < right);
}

static double middle(double *values, int n) {
    qsort(values, n, sizeof *values, rising);
    return n ? values[n / 2] : 0;
}

static void report(int wait_ms) {
    uint64_t end_ns = now_ns() + wait_ms * 1000000ull;
    while (now_ns() < end_ns) listen_for(1);
    double halves[MARKS], p99s[MARKS], *waits = malloc(count * sizeof *waits);
    uint64_t came = 0;
    int marked = 0, missing = 0;
    for (int i = 0; i < mark_count; i++) {
        if (!marks[i].at_ns) continue;
        for (int k = 0; k < arrivals[i]; k++) waits[k] = ((double)arrived[i][k] - (double)marks[i].at_ns) / 1e6;
        qsort(waits, arrivals[i], sizeof *waits, rising);
        came += arrivals[i];
        missing += count - arrivals[i];
        /* A level that was replaced before a lamp had it never comes there: it counts as the latest of all. */
        if (arrivals[i] <= count * 99 / 100) continue;
        halves[marked] = waits[count / 2];
        p99s[marked++] = waits[count * 99 / 100];
    }
    printf("{\"count\": %lu, \"missing\": %d, \"changes\": %d, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n", came, missing,
        marked, middle(halves, marked), middle(p99s, marked));
    mark_count = 0;
    free(waits);
}

static uint8_t keepalive[64];
static int keepalive_bytes;
static unsigned numbers_every;
static uint64_t numbered, told; /* keepalives with numbers, readings */

static int say(struct lamp *lamp, const uint8_t *frame, int length) {
    return send(lamp->fd, frame, length, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

/* Say what esp32/lamp/session.py says of a lamp: readings, or a keepalive with numbers in it. */
static int say_numbers(struct lamp *lamp, int as_readings) {
    char text[256];
    uint8_t frame[sizeof text + 16];
    struct timespec wall;
    unsigned some = lamp->sent * 112 + lamp->number * 37;
    clock_gettime(CLOCK_REALTIME, &wall);
    int length = as_readings
        ? snprintf(text, sizeof text, "{\"type\":\"readings\",\"at_ms\":%lu,\"values\":{\"temperature_c\":%.1f}}",
              wall.tv_sec * 1000ul + wall.tv_nsec / 1000000, 40 + some % 90 / 10.0)
        : snprintf(text, sizeof text, "{\"type\":\"keepalive\",\"shown\":%u,\"late_ms\":%u,\"heap_bytes\":%u,"
              "\"uptime_ms\":%lu,\"rssi_dbm\":%d}", some % 101, some % 700, 64000 + some % 16000, now_ns() / 1000000,
              -45 - (int)(some % 35));
    int went = say(lamp, frame, masked(frame, text, length));
    *(as_readings ? &told : &numbered) += went;
    return went;
}

static uint64_t send_keepalive(struct lamp *lamp) {
    if (lamp->state != OPEN) return 0;
    /* Not all lamps at once. */
    unsigned turn = lamp->sent++ + lamp->number;
    if (numbers_every && turn % numbers_every == 0) {
        int went = say_numbers(lamp, 0);
        if (turn / numbers_every % 3 == 0) say_numbers(lamp, 1);
        return went;
    }
    return say(lamp, keepalive, keepalive_bytes);
}

static void keepalives(int rounds, int gap_ms) {
    uint64_t sent = 0;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < count; i++) sent += send_keepalive(&lamps[i]);
        for (uint64_t end_ns = now_ns() + gap_ms * 1000000ull; now_ns() < end_ns;) listen_for(1);
    }
    printf("{\"sent\": %lu}\n", sent);
}

static void live(int every_ms, int for_ms) {
    uint64_t begun_ns = now_ns(), sent = 0, frames_before = frames;
    double cpu_before_s = cpu_s();
    numbered = told = 0;
    for (uint64_t due = 0;;) {
        uint64_t passed_ns = now_ns() - begun_ns;
        if (passed_ns >= for_ms * 1000000ull) break;
        uint64_t wanted = passed_ns / 1000 * count / (every_ms * 1000ull);
        for (; due < wanted; due++) sent += send_keepalive(&lamps[due % count]);
        listen_for(1);
    }
    printf("{\"sent\": %lu, \"numbered\": %lu, \"readings\": %lu, \"frames\": %lu, \"open\": %d, \"cpu_s\": %.3f}\n",
        sent, numbered, told, frames - frames_before, open_count, cpu_s() - cpu_before_s);
}

static void storm(int for_ms) {
    uint64_t begun_ns = now_ns(), due = 0;
    attempts = refused = told_when = untold = 0;
    for (int i = 0; i < count; i++) lamps[i].fresh_ns = 0;
    int dropped = open_count < count;
    for (;;) {
        uint64_t now = now_ns();
        int fresh = 0;
        for (int i = 0; i < count; i++) {
            if (lamps[i].state == CLOSED) {
                lamps[i].fresh_ns = 0;
                if (lamps[i].again_ns <= now) begin(&lamps[i]);
            }
            fresh += lamps[i].state == OPEN && lamps[i].fresh_ns;
        }
        dropped |= open_count < count;
        if ((dropped && fresh == count) || now - begun_ns >= for_ms * 1000000ull) break;
        for (uint64_t wanted = (now - begun_ns) / 1000000 * count / 1000; due < wanted; due++)
            send_keepalive(&lamps[due % count]);
        for (int i = 0; i < 8; i++) listen_for(1);
    }
    double *back = malloc(count * sizeof *back);
    int fresh = 0;
    for (int i = 0; i < count; i++)
        if (lamps[i].state == OPEN && lamps[i].fresh_ns) back[fresh++] = lamps[i].fresh_ns / 1e9;
    qsort(back, fresh, sizeof *back, rising);
    printf("{\"fresh\": %d, \"p95_at_s\": %.4f, \"all_at_s\": %.4f, \"attempts\": %lu, \"refused\": %lu, "
        "\"told\": %lu, \"untold\": %lu}\n",
        fresh, fresh ? back[(int)(fresh * 0.95)] : 0, fresh ? back[fresh - 1] : 0, attempts, refused, told_when, untold);
    free(back);
}

static void spare(int for_ms) {
    uint64_t begun_ns = now_ns(), frames_before = frames;
    double cpu_before_s = cpu_s();
    while (now_ns() - begun_ns < for_ms * 1000000ull) listen_for(1);
    printf("{\"frames\": %lu, \"busy\": %.4f}\n", frames - frames_before,
        (cpu_s() - cpu_before_s) / ((now_ns() - begun_ns) / 1e9));
}

static void mark(uint64_t seq, uint64_t at_ns) {
    for (int i = 0; i < mark_count; i++)
        if (marks[i].seq == seq) { marks[i].at_ns = at_ns; return; }
    if (mark_count == MARKS) return;
    marks[mark_count].seq = seq;
    marks[mark_count].at_ns = at_ns;
    if (!arrived[mark_count]) arrived[mark_count] = malloc(count * sizeof(uint64_t));
    arrivals[mark_count++] = 0;
}

static void load(const char *file) {
    char line[LINE];
    FILE *hellos = fopen(file, "r");
    if (!hellos) { perror(file); exit(1); }
    int room = 0;
    while (fgets(line, sizeof line, hellos)) {
        if (count == room) lamps = realloc(lamps, (room = room ? 2 * room : 1024) * sizeof *lamps);
        line[strcspn(line, "\n")] = 0;
        lamps[count] = (struct lamp){.fd = -1, .number = count, .backoff_ns = 500000000ull, .hello = strdup(line)};
        count++;
    }
    fclose(hellos);
}

int main(int argc, char **argv) {
    if (argc != 5) { fprintf(stderr, "usage: lamps PORT PATH HELLOS ws|mqtt\n"); return 2; }
    port = atoi(argv[1]);
    path = argv[2];
    mqtt = !strcmp(argv[4], "mqtt");
    load(argv[3]);
    srand48(1);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    static const char text[] = "{\"type\":\"keepalive\"}";
    if (mqtt) {
        memcpy(keepalive, "\x30\x1b\0\5alive", 9);
        memcpy(keepalive + 9, text, 20);
        keepalive_bytes = 29;
    } else keepalive_bytes = masked(keepalive, text, 20);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &event);
    char line[LINE];
    int held = 0;
    for (;;) {
        while (!listen_for(-1));
        int got = read(0, line + held, sizeof line - 1 - held);
        if (got <= 0) return 0;
        held += got;
        line[held] = 0;
        char *start = line, *end;
        for (; (end = strchr(start, '\n')); start = end + 1) {
            unsigned long a = 0, b = 0;
            *end = 0;
            if (sscanf(start, "mark %lu %lu", &a, &b) == 2) mark(a, b);
            else if (sscanf(start, "connect %lu", &a) == 1) connect_all(a);
            else if (sscanf(start, "report %lu", &a) == 1) report(a);
            else if (sscanf(start, "keepalives %lu %lu", &a, &b) == 2) keepalives(a, b);
            else if (sscanf(start, "numbers %lu", &a) == 1) numbers_every = a;
            else if (sscanf(start, "live %lu %lu", &a, &b) == 2) live(a, b);
            else if (sscanf(start, "storm %lu", &a) == 1) storm(a);
            else if (sscanf(start, "spare %lu", &a) == 1) spare(a);
            else { fprintf(stderr, "unknown command: %s\n", start); return 2; }
        }
        held = strlen(start);
        memmove(line, start, held + 1);
    }
}
