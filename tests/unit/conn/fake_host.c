#include "fake_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t now_us(void *context)
{
	return ((struct fake *)context)->now_us;
}

static uint64_t wall_s(void *context)
{
	return 1000000 + ((struct fake *)context)->now_us / 1000000;
}

static uint32_t random_below(void *context, uint32_t limit)
{
	struct fake *f = context;

	return limit == 0 ? 0 : f->random < limit ? f->random : limit - 1;
}

static bool is_local(void *context, const struct ip_address *a)
{
	struct fake *f = context;

	for (size_t i = 0; i < 4 && f->local[i] != NULL; i++) {
		struct ip_address ours;

		assert_true(ip_address_parse(f->local[i], &ours));
		if (ip_address_equal(&ours, a))
			return true;
	}
	return false;
}

static enum lookup_result lookup(void *context, enum host_kind kind, const char *name, uint8_t family,
				 struct ip_address *out)
{
	struct fake *f = context;
	const char *text = kind == HOST_DEFAULTROUTE ? f->route_address : f->name_address;

	(void)name;
	(void)family;
	if (text == NULL)
		return kind == HOST_DEFAULTROUTE ? LOOKUP_FAILED : LOOKUP_PENDING;
	return ip_address_parse(text, out) ? LOOKUP_OK : LOOKUP_FAILED;
}

static bool policy_set(void *context, const struct sa_policy *policy, char *err)
{
	static const char *const names[] = { [POLICY_TRAP] = "trap", [POLICY_DROP] = "drop",
					     [POLICY_PASS] = "pass", [POLICY_PROTECT] = "protect" };
	struct fake *f = context;

	if (f->policy_fails) {
		text_add(&f->log, "policy fails\n");
		snprintf(err, 256, "no room");
		return false;
	}
	text_add(&f->log, "policy %u %s\n", policy->reqid, names[policy->action]);
	f->last_policy = *policy;
	return true;
}

static void policy_remove(void *context, uint32_t reqid)
{
	struct fake *f = context;

	text_add(&f->log, "no policy %u\n", reqid);
}

static enum ike_up up(void *context, struct ike_conn *conn)
{
	struct fake *f = context;

	text_add(&f->log, "up %s\n", conn->name);
	return f->up_result;
}

static void down(void *context, struct ike_conn *conn, enum ike_reason reason)
{
	struct fake *f = context;

	text_add(&f->log, "down %s %s\n", conn->name, ike_reason_name(reason));
}

static bool has_key(void *context, const struct ike_conn *conn, struct text *why)
{
	struct fake *f = context;

	(void)conn;
	if (f->no_key)
		text_add(why, "no key");
	return !f->no_key;
}

static void say(void *context, const struct conn *conn, enum log_level level, const char *text)
{
	(void)context;
	(void)conn;
	(void)level;
	(void)text;
}

static void came_up(void *context, const struct conn *conn)
{
	struct fake *f = context;

	text_add(&f->log, "came up %s\n", conn->name);
}

static void failed(void *context, const struct conn *conn, const struct failure *failure, bool final)
{
	struct fake *f = context;

	f->last_failure = failure->reason;
	text_add(&f->log, "%s %s %s\n", final ? "failed" : "refused", conn->name, ike_reason_name(failure->reason));
}

static unsigned resources(void *context)
{
	return ((struct fake *)context)->resources;
}

void fake_init(struct fake *f)
{
	memset(f, 0, sizeof(*f));
	f->host = (struct conn_host){
		.context = f, .now_us = now_us, .wall_s = wall_s, .random_below = random_below,
		.orient = { .context = f, .is_local = is_local, .lookup = lookup },
		.resources = resources, .policy_set = policy_set, .policy_remove = policy_remove, .up = up, .down = down,
		.has_key = has_key, .say = say, .came_up = came_up, .failed = failed,
	};
	f->now_us = 1000000;
	f->resources = 1;
	f->local[0] = "192.168.20.10";
	f->local[1] = "192.168.10.20";
	f->up_result = IKE_UP_STARTED;
	f->set = conn_set_new(&f->host);
	assert_non_null(f->set);
}

void fake_free(struct fake *f)
{
	conn_set_free(f->set);
	text_free(&f->log);
}

static struct conn_source *source_of(const char *text)
{
	char path[] = "/tmp/sekisho-conn.XXXXXX";
	int fd = mkstemp(path);
	struct diag_list diags;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	diag_list_init(&diags);
	struct config *config = config_load(path, &diags);
	unlink(path);
	diag_list_free(&diags);
	assert_non_null(config);
	return conn_source_new(config);
}

void fake_load(struct fake *f, const char *text)
{
	struct conn_source *s = source_of(text);

	conn_set_load(f->set, s);
	conn_source_unref(s);
}

void fake_replace(struct fake *f, const char *text, const char *name)
{
	struct conn_source *s = source_of(text);
	size_t from = 0;
	const struct conn_config *c;

	text_free(&f->log);
	while ((c = config_find(s->config, name, &from)) != NULL)
		assert_non_null(conn_set_add(f->set, s, c));
	conn_source_unref(s);
}

struct conn *fake_conn(struct fake *f, const char *name)
{
	struct conn *c = conn_set_find(f->set, name, NULL);

	assert_non_null(c);
	return c;
}

const char *fake_turn(struct fake *f, uint64_t after_us)
{
	text_free(&f->log);
	f->now_us += after_us;
	/* the reconciler looks at each connection once a call */
	for (int i = 0; i < 4; i++)
		conn_set_reconcile(f->set);
	return text_str(&f->log);
}

void fake_event(struct fake *f, struct conn *c, enum ike_event_type type, enum ike_reason reason)
{
	struct ike_event ev = { .type = type, .reason = reason, .conn = c->ike, .ike_id = 1, .text = "text" };

	conn_set_event(f->set, &ev);
}

uint64_t fake_wait(struct fake *f)
{
	uint64_t next = conn_set_reconcile(f->set);

	return next <= f->now_us ? 0 : next - f->now_us;
}
