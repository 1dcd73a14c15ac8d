/*
 * ipsec.secrets as text: records of words, `INDEX... : PSK SECRET`.
 *
 * A record begins in column 0; indented lines go on with it. Words lie in the
 * file's own memory, which is secret and wiped. No diagnostic here shows a word
 * of a record: a secret that stands in the wrong place is still a secret. A
 * record with anything wrong is left out as a whole, never widened.
 */
#include <ctype.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/secrets_store.h"
#include "config/values.h"

enum { SECRETS_LINE_MAX = 64 * 1024, INDEX_MAX = 64, WEAK_BELOW = 8 };

struct word {
	char *ptr;
	size_t len;
	char quote; /* 0 without */
	unsigned line;
};

/** One file that is being read. */
struct reading {
	struct secrets *s;
	struct diag_list *diags;
	struct file_set *files;
	const char *file;
	unsigned depth;
	struct file_text text;
	size_t pos;         /* of the line behind the current one */
	unsigned line;      /* of the current one */
	char *rest, *end;   /* what is left of it */
	bool colon;         /* a colon that was cut off a word comes next */
	bool bad_line;      /* the current one cannot be read */
	bool mode_told;
};

static void read_file(struct secrets *s, struct diag_list *diags, struct file_set *files,
		      const char *path, const struct reading *from);

static struct diag_at at(const struct reading *r, unsigned line)
{
	return (struct diag_at){ .file = r->file, .line = line };
}

/** An error of the record that is being read; always false: the record goes. */
static bool record_error(const struct reading *r, unsigned line, const char *remedy,
			 const char *format, ...) __attribute__((format(printf, 4, 5)));

static bool record_error(const struct reading *r, unsigned line, const char *remedy,
			 const char *format, ...)
{
	char what[256];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	diag_add(r->diags, DIAG_ERROR, at(r, line), remedy, "%s", what);
	return false;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\f' || c == '\v';
}

/**
 * Go to the next line that says something. False at the end of the file, and, when
 * `continuation`, at a line in column 0, which stays unread.
 */
static bool next_line(struct reading *r, bool continuation)
{
	size_t pos = r->pos, len;
	unsigned line = r->line;
	char *start;

	while (file_next_line(&r->text, &pos, &start, &len)) {
		char *p = start, *end = start + len;

		line++;
		while (p < end && is_blank(*p))
			p++;
		if (p == end || *p == '#') {
			r->pos = pos;
			r->line = line;
			continue;
		}
		if (continuation && p == start)
			return false;
		r->pos = pos;
		r->line = line;
		r->rest = start;
		r->end = end;
		r->bad_line = len > SECRETS_LINE_MAX || memchr(start, '\0', len);
		return true;
	}
	return false;
}

enum word_result { WORD, WORD_END, WORD_BAD };

/** A quoted word at `r->rest`. */
static enum word_result quoted_word(struct reading *r, struct word *w)
{
	char *close = memchr(r->rest + 1, *r->rest, (size_t)(r->end - r->rest - 1));

	if (!close)
		return WORD_BAD;
	w->quote = *r->rest;
	w->ptr = r->rest + 1;
	w->len = (size_t)(close - w->ptr);
	r->rest = close + 1;
	// `"x"y` is more likely a slip than two words.
	return r->rest == r->end || is_blank(*r->rest) || *r->rest == ':' ? WORD : WORD_BAD;
}

/** The next word of the record. `value`: a secret, in which 0t and colons are no separators. */
static enum word_result next_word(struct reading *r, bool value, struct word *w)
{
	char *p;

	for (;;) {
		if (r->bad_line)
			return WORD_BAD;
		while (r->rest < r->end && is_blank(*r->rest))
			r->rest++;
		if (r->rest < r->end && *r->rest != '#')
			break;
		r->rest = r->end;
		if (!next_line(r, true))
			return WORD_END;
	}
	*w = (struct word){ .ptr = r->rest, .line = r->line };
	if (r->colon) {
		r->colon = false;
		w->len = 1;
		r->rest++;
		return WORD;
	}
	if (strchr("\"'`", *r->rest))
		return quoted_word(r, w);
	p = r->rest;
	if (value && r->end - p >= 2 && p[0] == '0' && (p[1] == 't' || p[1] == 'T')) {
		for (p = r->end; is_blank(p[-1]); p--)
			;
	} else {
		while (p < r->end && !is_blank(*p))
			p++;
		if (!value && p - r->rest > 1 && p[-1] == ':') {
			r->colon = true;
			p--;
		}
	}
	w->len = (size_t)(p - r->rest);
	r->rest = p;
	return WORD;
}

static bool word_is(const struct word *w, const char *text)
{
	return !w->quote && w->len == strlen(text) && strncasecmp(w->ptr, text, w->len) == 0;
}

static void skip_record(struct reading *r)
{
	r->colon = false;
	while (next_line(r, true))
		;
}

static const char *word_trouble(const struct reading *r)
{
	return r->bad_line ? "a line with a NUL byte or of over 64 KiB"
			   : "a quote without its end, or text right behind it";
}

/** A bare host name: FQDN without an @. */
static bool is_bare(const struct word *w, const struct identity *id)
{
	return id->type == IDENTITY_FQDN && *w->ptr != '@';
}

/** An index; false when it is no identity. */
static bool parse_index(const struct word *w, struct identity *id)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789-._";
	char text[IDENTITY_TEXT], err[IDENTITY_TEXT + 160];
	bool good;

	if (w->len == 0 || w->len >= sizeof(text) || memchr(w->ptr, '\0', w->len))
		return false;
	memcpy(text, w->ptr, w->len);
	text[w->len] = '\0';
	memset(id, 0, sizeof(*id));
	if (*text == '%')
		good = strcasecmp(text, "%any") == 0 || strcasecmp(text, "%any6") == 0;
	else
		good = identity_parse(text, id, err, sizeof(err));
	// 192.0.2.300 is a slip, not a name.
	if (good && is_bare(w, id))
		good = !text[strspn(text, name)] && text[strspn(text, "0123456789.")];
	// What is no identity may be a secret that lost its place.
	secret_wipe(text, sizeof(text));
	secret_wipe(err, sizeof(err));
	return good;
}

/** What stands before the colon, as words and as identities. */
struct indices {
	size_t count;
	struct word words[INDEX_MAX];
	struct identity ids[INDEX_MAX];
};

/** The indices up to the colon; false, with an error, when the record has to go. */
static bool read_indices(struct reading *r, struct word w, struct indices *out)
{
	unsigned line = w.line;

	for (out->count = 0; w.quote || !(w.len == 1 && *w.ptr == ':');) {
		if (out->count == INDEX_MAX)
			return record_error(r, line, NULL, "a record with over %d identities",
					    INDEX_MAX);
		out->words[out->count++] = w;
		switch (next_word(r, false, &w)) {
		case WORD:
			break;
		case WORD_BAD:
			return record_error(r, r->line, NULL, "%s", word_trouble(r));
		case WORD_END:
			return record_error(r, line, "write IDENTITIES : PSK and the secret",
					    "a record without a colon");
		}
	}
	for (size_t i = 0; i < out->count; i++)
		if (!parse_index(&out->words[i], &out->ids[i]))
			return record_error(r, out->words[i].line,
					    "write an address, @name, user@name, @[key id], a DN in "
					    "quotes or %any, then : PSK and the secret",
					    "word %zu of the record is no identity: the record is left out",
					    i + 1);
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/** Groups of two digits, `_` between them. */
static bool decode_hex(const char *p, size_t len, struct secret *out)
{
	size_t i = 0;

	while (i < len) {
		int hi, lo;

		if (i + 1 >= len || out->len == SECRET_MAX)
			return false;
		hi = hex_value(p[i]);
		lo = hex_value(p[i + 1]);
		if (hi < 0 || lo < 0)
			return false;
		out->bytes[out->len++] = (uint8_t)(hi << 4 | lo);
		i += 2;
		if (i + 1 < len && p[i] == '_')
			i++;
	}
	return out->len > 0;
}

static int base64_value(char c)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	const char *at_char = c ? strchr(alphabet, c) : NULL;

	return at_char ? (int)(at_char - alphabet) : -1;
}

/** Whole groups of four, and what the padding leaves over must be zero. */
static bool decode_base64(const char *p, size_t len, struct secret *out)
{
	if (len == 0 || len % 4)
		return false;
	for (size_t i = 0; i < len; i += 4) {
		bool last = i + 4 == len;
		size_t pad = last && p[i + 3] == '=' ? (p[i + 2] == '=' ? 2 : 1) : 0;
		uint32_t bits = 0;

		for (size_t j = 0; j < 4; j++) {
			int v = j >= 4 - pad ? 0 : base64_value(p[i + j]);

			if (v < 0)
				return false;
			bits = bits << 6 | (uint32_t)v;
		}
		if ((pad == 1 && bits & 0xff) || (pad == 2 && bits & 0xffff) ||
		    out->len + 3 - pad > SECRET_MAX)
			return false;
		for (size_t j = 0; j < 3 - pad; j++)
			out->bytes[out->len++] = (uint8_t)(bits >> (16 - 8 * j));
	}
	return true;
}

/** The secret of a word; NULL, or what is wrong with it. */
static const char *decode_secret(const struct word *w, struct secret *out)
{
	bool prefixed = !w->quote && w->len >= 2 && w->ptr[0] == '0';
	char format = prefixed ? (char)tolower((unsigned char)w->ptr[1]) : '\0';
	bool text = w->quote || format == 't';
	const char *p = w->quote ? w->ptr : w->ptr + 2;
	size_t len = w->quote ? w->len : w->len - 2;

	out->len = 0;
	if (text) {
		if (len == 0)
			return "the secret is empty";
		if (len > SECRET_MAX)
			return "the secret is longer than 1100 bytes";
		memcpy(out->bytes, p, len);
		out->len = len;
		return NULL;
	}
	if (format == 'x')
		return decode_hex(p, len, out) ? NULL
					       : "the secret behind 0x is not pairs of hexadecimal digits";
	if (format == 's')
		return decode_base64(p, len, out) ? NULL : "the secret behind 0s is not base64";
	return "the secret is neither in quotes nor begins with 0x, 0s or 0t";
}

/** Other kinds of secrets, of this family and of others. */
static bool is_other_kind(const struct word *w, const char **kind)
{
	static const char *const kinds[] = { "RSA",  "ECDSA", "EDDSA", "BLISS", "PKCS8", "P12",
					     "PIN",  "EAP",   "NTLM",  "XAUTH", "PPKS",  "PPK" };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		*kind = kinds[i];
		if (word_is(w, kinds[i]))
			return true;
	}
	return false;
}

static void warn_mode(struct reading *r)
{
	unsigned others = r->text.mode & 066;

	if (!others || r->mode_told)
		return;
	r->mode_told = true;
	diag_add(r->diags, DIAG_WARNING, at(r, 0), "chmod 600",
		 "others than its owner may %s this file of secrets (mode %04o)",
		 others & 044 ? "read" : "write", r->text.mode);
}

/** Names that nobody looks up in the DNS at load. */
static void warn_bare_names(struct reading *r, unsigned line, const struct indices *in)
{
	struct text names = { 0 };

	for (size_t i = 0; i < in->count; i++)
		if (is_bare(&in->words[i], &in->ids[i]))
			text_add(&names, "%s%.*s", names.len ? ", " : "", (int)in->words[i].len,
				 in->words[i].ptr);
	if (names.len)
		diag_add(r->diags, DIAG_WARNING, at(r, line),
			 "write its address, or @ in front of it",
			 "%s: names are compared as they are and not resolved", text_str(&names));
	text_free(&names);
}

/** A whole and good record into the store. */
static bool keep_secret(struct reading *r, unsigned line, const struct word *w,
			const struct indices *in, const struct secret *secret)
{
	const struct secret_record *rival;
	struct secret_id *index[INDEX_MAX];

	for (size_t i = 0; i < in->count; i++) {
		bool any;

		index[i] = secrets_intern(r->s, &in->ids[i], &any);
		if (!index[i] && !any)
			return record_error(r, line, NULL, "out of memory");
	}
	if (!secrets_add(r->s, r->file, line, index, in->count, secret->bytes, secret->len, &rival))
		return record_error(r, line, NULL, "out of memory");
	warn_mode(r);
	warn_bare_names(r, line, in);
	if (w->quote && secret->len < WEAK_BELOW)
		diag_add(r->diags, DIAG_WARNING, at(r, w->line),
			 "use 32 random bytes or more: 0s and what openssl rand -base64 32 prints",
			 "the pre-shared key is weak: it has less than %d characters", WEAK_BELOW);
	if (rival)
		diag_add(r->diags, DIAG_WARNING, at(r, line), "remove one of them",
			 "the identities are those of %s:%u, with another secret: the first is used",
			 rival->file, rival->line);
	return true;
}

/** Behind the colon: the kind and the secret. */
static bool read_kind(struct reading *r, unsigned line, const struct indices *in,
		      struct secret *secret)
{
	static const char write_psk[] =
		"write PSK and the secret behind the colon, or indent the line that goes on";
	const char *kind, *wrong;
	struct word w, value;

	switch (next_word(r, true, &w)) {
	case WORD:
		break;
	case WORD_BAD:
		return record_error(r, r->line, NULL, "%s", word_trouble(r));
	case WORD_END:
		return record_error(r, line, write_psk, "a record that ends at its colon");
	}
	if (is_other_kind(&w, &kind)) {
		diag_add(r->diags, DIAG_WARNING, at(r, w.line), NULL,
			 "a secret of the kind %s has no effect: only PSK is used", kind);
		return false;
	}
	if (!word_is(&w, "PSK"))
		return record_error(r, w.line, write_psk, "a record whose kind is not PSK");
	switch (next_word(r, true, &value)) {
	case WORD:
		break;
	case WORD_BAD:
		return record_error(r, r->line, "end the secret with the quote that it begins with",
				    "%s", word_trouble(r));
	case WORD_END:
		return record_error(r, line, write_psk, "a record that ends at PSK");
	}
	wrong = decode_secret(&value, secret);
	if (wrong)
		return record_error(r, value.line,
				    "write \"text\", 0x and hexadecimal digits, 0s and base64, or 0t and text",
				    "%s", wrong);
	if (next_word(r, true, &w) != WORD_END)
		return record_error(r, r->line, "put the secret in quotes",
				    "a record with more behind its secret");
	return keep_secret(r, line, &value, in, secret);
}

static void read_include(struct reading *r)
{
	unsigned line = r->line;
	struct word w, more;
	char *name, *pattern;
	glob_t found = { 0 };

	if (next_word(r, true, &w) != WORD || w.len == 0 || next_word(r, true, &more) != WORD_END) {
		diag_add(r->diags, DIAG_ERROR, at(r, line), "write include FILE",
			 "include takes one file");
		return;
	}
	if (r->depth + 1 > INCLUDE_MAX_DEPTH) {
		diag_add(r->diags, DIAG_ERROR, at(r, line), NULL,
			 "includes stand more than %d deep in each other", INCLUDE_MAX_DEPTH);
		return;
	}
	name = strndup(w.ptr, w.len);
	pattern = name ? file_include_path(r->file, name) : NULL;
	if (pattern && glob(pattern, GLOB_BRACE, NULL, &found) == 0) {
		struct reading from = *r;

		from.line = line;
		for (size_t i = 0; i < found.gl_pathc; i++)
			read_file(r->s, r->diags, r->files, found.gl_pathv[i], &from);
	} else if (pattern && !strpbrk(pattern, "*?[{")) {
		diag_add(r->diags, DIAG_WARNING, at(r, line), "make the file, or remove the line",
			 "no secrets file matches this include");
	}
	globfree(&found);
	free(pattern);
	free(name);
}

/** Memory for one record at a time. */
struct workspace {
	struct indices in;
	struct secret secret;
};

static void read_record(struct reading *r, struct workspace *space)
{
	unsigned line = r->line;
	struct word w;

	if (next_word(r, false, &w) != WORD)
		record_error(r, line, NULL, "%s", word_trouble(r));
	else if (word_is(&w, "include"))
		read_include(r);
	else if (read_indices(r, w, &space->in))
		read_kind(r, line, &space->in, &space->secret);
	skip_record(r);
}

static void read_text(struct reading *r)
{
	struct workspace *space = secret_alloc(sizeof(*space));
	bool indent_told = false;

	while (space && next_line(r, false)) {
		if (!is_blank(*r->rest)) {
			read_record(r, space);
			continue;
		}
		// Only a file that begins so: within a file such a line belongs to a record.
		if (!indent_told)
			record_error(r, r->line, "begin the record in the first column",
				     "the file begins with an indented line, which continues a record");
		indent_told = true;
	}
	secret_free(space);
}

static void read_file(struct secrets *s, struct diag_list *diags, struct file_set *files,
		      const char *path, const struct reading *from)
{
	struct reading r = { .s = s, .diags = diags, .files = files,
			     .depth = from ? from->depth + 1 : 0 };
	struct diag_at where = from ? at(from, from->line) : (struct diag_at){ .file = path };
	char why[300] = "", shown[200];

	value_printable(path, shown, sizeof(shown));
	switch (file_read(files, path, from != NULL, true, &r.text, why, sizeof(why))) {
	case FILE_READ:
		break;
	case FILE_SEEN:
		diag_add(diags, DIAG_WARNING, where, "remove one of the includes",
			 "%s is included already and is not read again", shown);
		return;
	case FILE_ABSENT:
	case FILE_FAILED:
		diag_add(diags, DIAG_ERROR, where, NULL, "cannot read %s: %s", shown, why);
		return;
	}
	r.file = arena_strdup(&s->arena, path);
	if (r.text.len >= 3 && memcmp(r.text.data, "\xef\xbb\xbf", 3) == 0)
		r.pos = 3; // a byte order mark that an editor left
	if (r.file)
		read_text(&r);
	file_text_free(&r.text);
}

void secrets_read(struct secrets *s, const char *path, struct diag_list *diags)
{
	struct file_set files = { 0 };

	read_file(s, diags, &files, path, NULL);
	file_set_free(&files);
}
