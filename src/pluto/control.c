#include "pluto/control.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "pluto/daemon.h"

enum {
	CLIENTS_MAX = 64,
	LINE_MAX_BYTES = 65536,
	PROGRESS_MAX_BYTES = 1 << 20, /* of lines that a client has not read */
};

struct client {
	LIST_ENTRY(client) entry;
	struct control *control;
	struct bufferevent *bev;
	struct request *request; /* the one under way, NULL */
	bool close;              /* when all is written */
	bool eof;                /* it sends no more, but may still read */
};

TAILQ_HEAD(request_list, request);

struct control {
	struct daemon *daemon;
	struct event_base *base;
	struct evconnlistener *listener;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	void (*run)(struct request *);
	LIST_HEAD(, client) clients;
	struct request_list requests;
	size_t count;
};

static void client_free(struct client *c)
{
	if (c->request != NULL)
		c->request->client = NULL; /* it goes on, and nobody hears of it */
	LIST_REMOVE(c, entry);
	c->control->count--;
	bufferevent_free(c->bev);
	free(c);
}

static void client_send(struct client *c, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (text == NULL)
		return;
	struct evbuffer *out = bufferevent_get_output(c->bev);
	evbuffer_add(out, text, strlen(text));
	evbuffer_add(out, "\n", 1);
	free(text);
}

static void send_result(struct client *c, enum conn_rc rc, enum ike_reason reason, const char *text,
			json_t *data)
{
	json_t *o = json_pack("{s:s, s:i, s:s, s:s}", "type", "result", "rc", (int)rc, "reason",
			      ike_reason_name(reason), "text", text != NULL ? text : "");

	if (o == NULL) /* text that is no UTF-8 */
		o = json_pack("{s:s, s:i, s:s, s:s}", "type", "result", "rc", (int)rc, "reason",
			      ike_reason_name(reason), "text", "(unprintable)");
	if (data != NULL)
		json_object_set_new(o, "data", data);
	client_send(c, o);
}

static void client_refuse(struct client *c, const char *text)
{
	send_result(c, CONN_RC_BAD_REQUEST, REASON_NONE, text, NULL);
}

static void request_new(struct client *c, json_t *json)
{
	const char *command = json_string_value(json_object_get(json, "command"));
	struct request *r = command != NULL ? calloc(1, sizeof(*r)) : NULL;

	if (r == NULL) {
		client_refuse(c, "bad request: \"command\" is missing");
		json_decref(json);
		return;
	}
	r->client = c;
	r->daemon = c->control->daemon;
	r->json = json;
	r->command = command;
	r->name = json_string_value(json_object_get(json, "name"));
	r->async = json_is_true(json_object_get(json, "async"));
	c->request = r;
	TAILQ_INSERT_TAIL(&c->control->requests, r, entry);
	c->control->run(r);
}

/* Everything that it asked has been answered, and nobody is there to ask more. */
static bool client_over(const struct client *c)
{
	return (c->close || c->eof) && c->request == NULL &&
	       evbuffer_get_length(bufferevent_get_output(c->bev)) == 0;
}

/* Requests that have arrived, one after the other, and not before the last result has been read. */
static void client_work(struct client *c)
{
	struct evbuffer *in = bufferevent_get_input(c->bev);

	while (c->request == NULL && !c->close && evbuffer_get_length(bufferevent_get_output(c->bev)) == 0) {
		size_t len = 0;
		char *line = evbuffer_readln(in, &len, EVBUFFER_EOL_LF);

		if (line == NULL) {
			if (evbuffer_get_length(in) < LINE_MAX_BYTES)
				return;
			client_refuse(c, "bad request: longer than 64 KiB");
			c->close = true;
			return;
		}
		json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
		free(line);
		if (json_is_object(json)) {
			request_new(c, json);
		} else {
			json_decref(json);
			client_refuse(c, "bad request: not a JSON object");
			c->close = true;
		}
	}
}

static void on_read(struct bufferevent *bev, void *context)
{
	(void)bev;
	client_work(context);
}

static void on_written(struct bufferevent *bev, void *context)
{
	struct client *c = context;

	(void)bev;
	client_work(c);
	if (client_over(c))
		client_free(c);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
	struct client *c = context;

	(void)bev;
	if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)))
		return;
	c->eof = true;
	if ((what & BEV_EVENT_ERROR) || client_over(c))
		client_free(c);
}

/* Only root and whom the daemon runs as. */
static bool peer_allowed(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
	       (who.uid == 0 || who.uid == geteuid());
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *context)
{
	struct control *control = context;
	struct client *c = NULL;

	(void)l;
	(void)sa;
	(void)len;
	if (control->count < CLIENTS_MAX && peer_allowed(fd))
		c = calloc(1, sizeof(*c));
	struct bufferevent *bev = c != NULL ? bufferevent_socket_new(control->base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
	if (bev == NULL) {
		free(c);
		evutil_closesocket(fd);
		return;
	}
	c->control = control;
	c->bev = bev;
	LIST_INSERT_HEAD(&control->clients, c, entry);
	control->count++;
	bufferevent_setcb(bev, on_read, on_written, on_event, c);
	/* what is not read here fills the client's own buffers */
	bufferevent_setwatermark(bev, EV_READ, 0, LINE_MAX_BYTES + 1);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

static int control_bind(const char *path, char *err, size_t len)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(sun.sun_path)) {
		snprintf(err, len, "the path of the control socket is too long: %s", path);
		return -1;
	}
	memcpy(sun.sun_path, path, strlen(path) + 1);
	unlink(path); /* of a daemon that was killed: the lock of the pid file is ours */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	int rc = fd >= 0 ? bind(fd, (struct sockaddr *)&sun, sizeof(sun)) : -1;
	umask(mask);
	if (rc == 0 && listen(fd, 32) == 0)
		return fd;
	snprintf(err, len, "cannot make the control socket %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

struct control *control_new(struct daemon *d, struct event_base *base, const char *path,
			    void (*run)(struct request *), char *err, size_t len)
{
	struct control *c = calloc(1, sizeof(*c));
	int fd;

	snprintf(err, len, "out of memory");
	if (c == NULL || (fd = control_bind(path, err, len)) < 0) {
		free(c);
		return NULL;
	}
	snprintf(c->path, sizeof(c->path), "%s", path);
	c->daemon = d;
	c->base = base;
	c->run = run;
	LIST_INIT(&c->clients);
	TAILQ_INIT(&c->requests);
	c->listener = evconnlistener_new(base, on_accept, c, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (c->listener == NULL) {
		close(fd);
		control_free(c);
		return NULL;
	}
	return c;
}

static void request_free(struct request *r)
{
	if (r->deadline != NULL)
		event_free(r->deadline);
	json_decref(r->json);
	free(r->pending);
	free(r);
}

void control_free(struct control *c)
{
	struct client *k, *next;
	struct request *r;

	if (c == NULL)
		return;
	for (k = LIST_FIRST(&c->clients); k != NULL; k = next) {
		next = LIST_NEXT(k, entry);
		client_free(k);
	}
	while ((r = TAILQ_FIRST(&c->requests)) != NULL) {
		TAILQ_REMOVE(&c->requests, r, entry);
		request_free(r);
	}
	if (c->listener != NULL)
		evconnlistener_free(c->listener);
	unlink(c->path);
	free(c);
}

void request_line(struct request *r, enum log_level level, const char *connection, uint32_t sa,
		  const char *text)
{
	static const char *const names[] = {
		[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning",
		[LOG_LEVEL_INFO] = "info", [LOG_LEVEL_DEBUG] = "debug",
	};

	if (r->client == NULL ||
	    evbuffer_get_length(bufferevent_get_output(r->client->bev)) > PROGRESS_MAX_BYTES)
		return;
	json_t *o = json_pack("{s:s, s:s, s:s?, s:I, s:s}", "type", "line", "level", names[level],
			      "connection", connection, "sa", (json_int_t)sa, "text", text);
	if (o != NULL)
		client_send(r->client, o);
}

void request_finish(struct request *r, enum conn_rc rc, enum ike_reason reason, const char *text,
		    json_t *data)
{
	struct client *c = r->client;

	TAILQ_REMOVE(&r->daemon->control->requests, r, entry);
	if (c != NULL) {
		c->request = NULL;
		send_result(c, rc, reason, text, data);
	} else {
		json_decref(data);
	}
	request_free(r);
}

struct request *control_first(const struct control *c)
{
	return c != NULL ? TAILQ_FIRST(&c->requests) : NULL;
}

struct request *control_next(const struct request *r)
{
	return TAILQ_NEXT(r, entry);
}

void control_flush(struct control *c)
{
	struct client *k;

	if (c == NULL)
		return;
	evconnlistener_disable(c->listener);
	LIST_FOREACH(k, &c->clients, entry) {
		struct evbuffer *out = bufferevent_get_output(k->bev);

		/* the front of a bufferevent's output is its own, but the loop may not turn again */
		evbuffer_unfreeze(out, 1);
		evbuffer_write(out, bufferevent_getfd(k->bev));
		evbuffer_freeze(out, 1);
	}
}
