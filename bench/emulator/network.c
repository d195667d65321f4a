/*
 * A network of known delays on a TUN device: it answers echo requests.
 *
 *   network DEVICE SECONDS
 *
 * Addresses are 10.99.T.x; the low four bits of T choose how they behave (see DELAYS). It says "ready" on standard
 * output, runs with real-time priority where it may, and ends by itself after SECONDS or on SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define MOST_WAITING (1 << 17)
#define MOST_BYTES 128
#define NS_PER_MS 1000000.0

/* delay in ms, how far it varies either way, share of probes lost */
static const struct {
    double delay_ms, varies_ms, loss;
} DELAYS[16] = {
    [1] = {0.2, 0, 0},
    [2] = {5, 0, 0},
    [3] = {20, 2, 0},
    [4] = {20, 0, 0.03},
};

struct waiting {
    int64_t due_ns;
    int bytes;
    unsigned char packet[MOST_BYTES];
};

/* A heap of indices into a pool: the packet that is due first is at the top. */
static struct waiting *pool;
static int *heap, *unused, heaped, free_count;
static volatile sig_atomic_t stopped;

static void stop(int signal_number) {
    (void)signal_number;
    stopped = 1;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void swap(int a, int b) {
    int kept = heap[a];
    heap[a] = heap[b];
    heap[b] = kept;
}

static void push(int entry) {
    int child = heaped++;
    heap[child] = entry;
    for (int parent; child && pool[heap[parent = (child - 1) / 2]].due_ns > pool[heap[child]].due_ns; child = parent)
        swap(child, parent);
}

static int pop(void) {
    int first = heap[0], parent = 0;
    heap[0] = heap[--heaped];
    for (int child; (child = 2 * parent + 1) < heaped; parent = child) {
        if (child + 1 < heaped && pool[heap[child + 1]].due_ns < pool[heap[child]].due_ns)
            child++;
        if (pool[heap[child]].due_ns >= pool[heap[parent]].due_ns)
            break;
        swap(child, parent);
    }
    return first;
}

/* From 0 to below 1; the same in every run (xorshift64, Marsaglia 2003). */
static double uniform(void) {
    static uint64_t state = 88172645463325252ULL;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state >> 11) * (1.0 / 9007199254740992.0);
}

static void answer(const unsigned char *request, int bytes, int64_t came_ns) {
    int way = request[18] & 15;
    if (bytes > MOST_BYTES || request[0] != 0x45 || request[9] != IPPROTO_ICMP || request[20] != 8)
        return;
    if (!free_count || uniform() < DELAYS[way].loss)
        return;
    struct waiting *reply = &pool[unused[--free_count]];
    double delay_ms = DELAYS[way].delay_ms + DELAYS[way].varies_ms * (2 * uniform() - 1);
    reply->due_ns = came_ns + (int64_t)(delay_ms * NS_PER_MS);
    reply->bytes = bytes;
    memcpy(reply->packet, request, bytes);
    memcpy(reply->packet + 12, request + 16, 4);
    memcpy(reply->packet + 16, request + 12, 4);
    reply->packet[20] = 0;
    /* The type went from 8 to 0: the checksum rises by 0x0800 (RFC 1624). */
    uint32_t sum = (request[22] << 8 | request[23]) + 0x0800;
    sum = (sum & 0xffff) + (sum >> 16);
    reply->packet[22] = sum >> 8;
    reply->packet[23] = sum;
    push(reply - pool);
}

static int open_device(const char *name) {
    struct ifreq request = {0};
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (device < 0 || ioctl(device, TUNSETIFF, &request)) {
        perror("tun");
        exit(1);
    }
    return device;
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "usage: network DEVICE SECONDS\n");
        return 2;
    }
    int device = open_device(words[1]);
    pool = calloc(MOST_WAITING, sizeof *pool);
    heap = calloc(MOST_WAITING, sizeof *heap);
    unused = calloc(MOST_WAITING, sizeof *unused);
    if (!pool || !heap || !unused)
        return 1;
    for (int entry = 0; entry < MOST_WAITING; entry++)
        unused[free_count++] = entry;
    signal(SIGTERM, stop);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 50});
    int64_t end_ns = now_ns() + atoi(words[2]) * 1000000000LL;
    puts("ready");
    fflush(stdout);
    while (!stopped && now_ns() < end_ns) {
        unsigned char packet[2048];
        for (int bytes; (bytes = read(device, packet, sizeof packet)) > 0;)
            if (bytes >= 28)
                answer(packet, bytes, now_ns());
        while (heaped && pool[heap[0]].due_ns <= now_ns()) {
            int entry = pop();
            if (write(device, pool[entry].packet, pool[entry].bytes) < 0 && errno != EAGAIN && errno != EINVAL)
                perror("write");
            unused[free_count++] = entry;
        }
        int64_t wait_ns = heaped ? pool[heap[0]].due_ns - now_ns() : 200000000LL;
        if (wait_ns <= 0)
            continue;
        struct timespec wait = {wait_ns / 1000000000LL, wait_ns % 1000000000LL};
        ppoll(&(struct pollfd){.fd = device, .events = POLLIN}, 1, &wait, NULL);
    }
    return 0;
}
