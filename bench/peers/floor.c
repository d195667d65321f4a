/* The floor: what the kernel alone asks of a gateway. A minimal epoll server that speaks just enough WebSocket.
 *
 *     floor        listens on a port of loopback and prints it
 *
 * A text that comes from "/change" is sent to all who asked for another path; what those say is read and forgotten.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, READ = 65536, KEPT = 4096, BACKLOG = 4096, ACCEPTS = 256 };

struct client {
    int fd, seat, open, rules, held;
    uint8_t *kept;
};

static struct client **seats;
static int seated, room, poll_fd;

static void gone(struct client *client) {
    close(client->fd);
    if (client->open && !client->rules) {
        seats[client->seat] = seats[--seated];
        seats[client->seat]->seat = client->seat;
    }
    free(client->kept);
    free(client);
}

static void seat(struct client *client) {
    if (seated == room) seats = realloc(seats, (room = room ? 2 * room : 1024) * sizeof *seats);
    client->seat = seated;
    seats[seated++] = client;
}

static void tell_all(const uint8_t *text, int length) {
    static uint8_t frame[READ + 4];
    int at = 0;
    frame[at++] = 0x81;
    if (length < 126) frame[at++] = length;
    else { frame[at++] = 126; frame[at++] = length >> 8; frame[at++] = length & 255; }
    memcpy(frame + at, text, length);
    for (int i = 0; i < seated; i++) send(seats[i]->fd, frame, at + length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int understand(struct client *client, uint8_t *data, int length) {
    int at = 0;
    if (!client->open) {
        uint8_t *end = memmem(data, length, "\r\n\r\n", 4);
        if (!end) return 0;
        /* All lamps of the bench send the same key, so this is the answer to it. */
        static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        send(client->fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        client->open = 1;
        client->rules = !memcmp(data, "GET /change", 11);
        if (!client->rules) seat(client);
        at = end + 4 - data;
    }
    while (length - at >= 6) {
        uint8_t *head = data + at;
        int size = head[1] & 127, header = 2;
        if (size == 126) { size = head[2] << 8 | head[3]; header = 4; }
        if (length - at < header + 4 + size) break;
        uint8_t *mask = head + header, *text = mask + 4;
        for (int i = 0; i < size; i++) text[i] ^= mask[i & 3];
        if (client->rules) tell_all(text, size);
        at += header + 4 + size;
    }
    return at;
}

static void readable(struct client *client) {
    static uint8_t data[KEPT + READ];
    if (client->held) memcpy(data, client->kept, client->held);
    int got = recv(client->fd, data + client->held, READ, 0);
    if (got <= 0) { gone(client); return; }
    int length = client->held + got, used = understand(client, data, length);
    client->held = length - used;
    if (client->held > KEPT) { gone(client); return; }
    if (client->held) {
        client->kept = realloc(client->kept, client->held);
        memcpy(client->kept, data + used, client->held);
    }
}

int main(void) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    signal(SIGPIPE, SIG_IGN);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, BACKLOG)) { perror("listen"); return 1; }
    getsockname(listener, (void *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    poll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int ready = epoll_wait(poll_fd, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr) { readable(events[i].data.ptr); continue; }
            for (int k = 0; k < ACCEPTS; k++) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) break;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                struct client *client = calloc(1, sizeof *client);
                client->fd = fd;
                event.data.ptr = client;
                epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
