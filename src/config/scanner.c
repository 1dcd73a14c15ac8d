/*
 * ipsec.conf as text: lines, sections, includes. Knows keywords by name only.
 *
 * A line that cannot be read is an error of the section that it stands in, and
 * of no other: the section gets a `problem` and is set aside later.
 */
#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/load.h"

/** Where the scanner is in one file. */
struct scan {
	struct loader *l;
	const char *file;
	unsigned line;
	unsigned depth;
	struct section *section; /* what indented lines belong to; NULL: to nothing */
	bool skipping;           /* under a header that was an error: its lines say nothing */
	bool after_include;
};

static void scan_file(struct loader *l, const char *path, const struct scan *from);

static struct diag_at scan_at(const struct scan *s)
{
	return (struct diag_at){ .file = s->file, .line = s->line,
				 .conn = s->section && s->section != s->l->setup ? s->section->name
										 : NULL };
}

/** An error of this line, and with that of its section. */
#define scan_error(s, remedy, ...)                                                             \
	section_problem((s)->section,                                                          \
			problem_at((s)->l, DIAG_ERROR, scan_at(s), remedy, __VA_ARGS__))

static void section_problem(struct section *section, const struct diag *problem)
{
	if (section && !section->problem)
		section->problem = problem;
}

static size_t blanks(const char *s)
{
	return strspn(s, " \t\f\v");
}

static struct section *section_new(struct loader *l, struct sections *list, const char *name,
				   const struct scan *s)
{
	struct section *section = arena_alloc(&l->temp, sizeof(*section));

	if (!section)
		return NULL;
	section->name = arena_strdup(l->keep, name);
	section->file = s ? s->file : NULL;
	section->line = s ? s->line : 0;
	section->tail = &section->items;
	if (!section->name)
		return NULL;
	if (list) {
		*list->tail = section;
		list->tail = &section->next;
	}
	return section;
}

/** A header's argument: one word or a quoted one, then nothing or a comment. */
static char *header_word(struct scan *s, char *rest, const char *header)
{
	size_t len;
	char *word;

	rest += blanks(rest);
	if (*rest == '"' || *rest == '\'') {
		char *end = strchr(rest + 1, *rest);

		if (!end) {
			scan_error(s, "end it with another quote", "unterminated quote");
			return NULL;
		}
		*end = '\0';
		word = rest + 1;
		rest = end + 1;
	} else {
		len = strcspn(rest, " \t\f\v");
		word = rest;
		rest += len;
		if (*rest)
			*rest++ = '\0';
		if (*word == '#')
			*word = '\0';
	}
	rest += blanks(rest);
	if (*word && *rest && *rest != '#') {
		char shown[48];

		scan_error(s, NULL, "%s takes one word, and \"%s\" stands behind it", header,
			   value_printable(rest, shown, sizeof(shown)));
		return NULL;
	}
	return word;
}

static void begin_conn(struct scan *s, char *rest)
{
	struct loader *l = s->l;
	struct section *section, *first;
	char *name, shown[80];

	s->section = NULL;
	s->skipping = true; // until the header turns out to be good
	name = header_word(s, rest, "conn");
	if (!name)
		return;
	if (!*name) {
		scan_error(s, "write conn NAME", "conn without a name");
		return;
	}
	value_printable(name, shown, sizeof(shown));
	for (const char *p = name; *p; p++) {
		if (iscntrl((unsigned char)*p) || *p == ',' || *p == '"') {
			scan_error(s, "use letters, digits, - and _",
				   "\"%s\" is not a name for a connection", shown);
			return;
		}
	}
	if (strcasecmp(name, "%default") == 0) {
		s->section = section_new(l, &l->defaults, "%default", s);
		s->skipping = !s->section;
		return;
	}
	if (*name == '%' || strlen(name) > CONN_NAME_MAX) {
		scan_error(s, *name == '%' ? "begin the name with a letter" : "shorten it",
			   "\"%s\" is not a name for a connection: %s", shown,
			   *name == '%' ? "those with % in front are reserved"
					: "it has more than 63 bytes");
		return;
	}
	section = section_new(l, &l->conns, name, s);
	if (!section)
		return;
	s->section = section;
	s->skipping = false;
	HASH_FIND_STR(l->by_name, section->name, first);
	if (first)
		scan_error(s, "rename one of them", "the name is taken by the conn at %s:%u",
			   first->file, first->line);
	else
		HASH_ADD_KEYPTR(hh, l->by_name, section->name, strlen(section->name), section);
}

static void begin_setup(struct scan *s, char *rest)
{
	char *word, shown[48];

	s->section = NULL;
	s->skipping = true;
	word = header_word(s, rest, "config");
	if (!word)
		return;
	if (strcasecmp(word, "setup") != 0) {
		scan_error(s, "write config setup", "unknown section \"config%s%s\"",
			   *word ? " " : "", value_printable(word, shown, sizeof(shown)));
		return;
	}
	s->section = s->l->setup;
	s->skipping = false;
}

static bool has_wildcard(const char *pattern)
{
	return strpbrk(pattern, "*?[{") != NULL;
}

static void include_matches(struct scan *s, const char *written, const char *pattern)
{
	glob_t found = { 0 };
	char shown[200];
	int rc = glob(pattern, GLOB_BRACE, NULL, &found);

	value_printable(written, shown, sizeof(shown));
	if (rc == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			scan_file(s->l, found.gl_pathv[i], s);
	} else if (rc != GLOB_NOMATCH) {
		problem_at(s->l, DIAG_ERROR, scan_at(s), NULL, "include %s: cannot be searched",
			   shown);
	} else if (!has_wildcard(pattern)) {
		problem_at(s->l, DIAG_WARNING, scan_at(s), "make the file, or remove the line",
			   "could not open include file %s: there is none", shown);
	}
	globfree(&found);
}

static void scan_include(struct scan *s, char *rest)
{
	struct scan at = *s; // an include's problems are its own, not the section's above it
	char *word, *pattern;

	at.section = NULL;
	s->after_include = true;
	word = header_word(&at, rest, "include");
	if (!word)
		return;
	if (!*word) {
		scan_error(&at, "write include FILE", "include without a file");
		return;
	}
	if (s->depth + 1 > INCLUDE_MAX_DEPTH) {
		scan_error(&at, NULL, "includes stand more than %d deep in each other",
			   INCLUDE_MAX_DEPTH);
		return;
	}
	pattern = file_include_path(s->file, word);
	if (!pattern) {
		s->l->temp.bad = true;
		return;
	}
	include_matches(&at, word, pattern);
	free(pattern);
}

/**
 * The value in `rest`, which is changed: without quotes, braces and a comment. NULL after an
 * error.
 */
static char *scan_value(struct scan *s, const char *spelled, char *rest)
{
	char *value, *end, shown[48];
	bool quoted = *rest == '"' || *rest == '\'' || *rest == '{';

	if (quoted) {
		end = strchr(rest + 1, *rest == '{' ? '}' : *rest);
		if (!end) {
			scan_error(s, *rest == '{' ? "end it with }" : "end it with another quote",
				   *rest == '{' ? "%s= has a { without a }"
						: "%s= has an unterminated quote", spelled);
			return NULL;
		}
		value = rest + 1;
		if (*rest == '{') {
			value += blanks(value);
			for (char *p = end; p > value && strchr(" \t", p[-1]); p--)
				p[-1] = '\0';
		}
		*end = '\0';
		rest = end + 1;
	} else if (*rest == '#') {
		return rest + strlen(rest); // `key= # comment`: nothing
	} else {
		value = rest;
		rest += strcspn(rest, " \t\f\v");
		if (*rest)
			*rest++ = '\0';
	}
	rest += blanks(rest);
	if (*rest && *rest != '#') {
		value_printable(rest, shown, sizeof(shown));
		scan_error(s, quoted ? NULL : "put a value with blanks into quotes",
			   quoted ? "%s= has \"%s\" behind its closing quote"
				  : "%s= has a second word, \"%s\"", spelled, shown);
		return NULL;
	}
	return value;
}

/** Say what is wrong with a keyword that was not found; KEYWORD_FOUND is not. */
static void unknown_keyword(struct scan *s, enum keyword_match match, const char *spelled,
			    const struct keyword *k)
{
	char shown[64], near[64], remedy[160] = "";
	bool setup = s->section == s->l->setup;

	value_printable(spelled, shown, sizeof(shown));
	if (match == KEYWORD_NEEDS_SIDE) {
		snprintf(remedy, sizeof(remedy), "write left%s= or right%s=", k->name, k->name);
		scan_error(s, remedy, "keyword \"%s\" requires \"left\" or \"right\" prefix",
			   shown);
		return;
	}
	if (match == KEYWORD_HAS_NO_SIDE) {
		snprintf(remedy, sizeof(remedy), "write %s=", k->name);
		scan_error(s, remedy, "keyword \"%s\" is not one of an end", shown);
		return;
	}
	// A guess costs a comparison with the whole table: a file of rubbish gets some only.
	if (s->l->guesses < 200 && strlen(spelled) < 48) {
		s->l->guesses++;
		if (keyword_nearest(setup, spelled, near, sizeof(near)))
			snprintf(remedy, sizeof(remedy), "did you mean \"%s\"?", near);
	}
	scan_error(s, *remedy ? remedy : NULL, "unknown keyword \"%s\"%s", shown,
		   setup ? " in config setup" : "");
}

static void add_item(struct scan *s, const struct keyword *k, enum keyword_side side,
		     const char *spelled, const char *value)
{
	struct loader *l = s->l;
	struct item *item = arena_alloc(&l->temp, sizeof(*item));

	if (!item)
		return;
	*item = (struct item){
		.keyword = k,
		.side = side,
		.file = s->file,
		.line = s->line,
		.spelled = arena_strdup(&l->temp, spelled),
		.value = arena_strdup(l->keep, value),
		.section = s->section,
	};
	if (!item->spelled || !item->value)
		return;
	*s->section->tail = item;
	s->section->tail = &item->next;
}

/** An indented line: a keyword of the section. */
static void scan_keyword(struct scan *s, char *line)
{
	size_t len = strcspn(line, " \t\f\v=#\"");
	char *rest = line + len, *value, shown[64];
	enum keyword_match match;
	const struct keyword *k;
	enum keyword_side side;

	rest += blanks(rest);
	if (len == 0 || *rest != '=') {
		scan_error(s, "write KEYWORD=VALUE", "\"%s\" has no =",
			   value_printable(line, shown, sizeof(shown)));
		return;
	}
	line[len] = '\0';
	rest++;
	rest += blanks(rest);
	if (tolower((unsigned char)line[0]) == 'x' && (line[1] == '-' || line[1] == '_')) {
		problem_at(s->l, DIAG_WARNING, scan_at(s), NULL, "X- style comment ignored: %s=",
			   value_printable(line, shown, sizeof(shown)));
		return;
	}
	value = scan_value(s, line, rest);
	if (!value)
		return;
	match = keyword_lookup(s->l->index, s->section == s->l->setup, line, len, &k, &side);
	if (match == KEYWORD_FOUND)
		add_item(s, k, side, line, value);
	else
		unknown_keyword(s, match, line, k);
}

/** `include FILE`, which may be indented. */
static bool is_include(const char *line)
{
	return strncasecmp(line, "include", 7) == 0 &&
	       (!line[7] || (blanks(line + 7) && line[7 + blanks(line + 7)] != '='));
}

static void scan_indented(struct scan *s, char *line)
{
	if (is_include(line)) {
		scan_include(s, line + 7);
		return;
	}
	if (s->skipping)
		return;
	if (!s->section) {
		scan_error(s, "write it under config setup or conn NAME",
			   "a keyword before any section");
		return;
	}
	if (s->after_include) {
		scan_error(s, "move it above the include",
			   "a keyword after an include belongs to no section");
		return;
	}
	scan_keyword(s, line);
}

/** Column 0 holds something that is no header. */
static void scan_stray(struct scan *s, const char *line)
{
	size_t len = strcspn(line, " \t\f\v=");
	const char *rest = line + len + blanks(line + len);
	char shown[64], remedy[128];
	const struct keyword *k;
	enum keyword_side side;

	if (*rest == '=' && s->section && !s->skipping) {
		enum keyword_match match = keyword_lookup(
			s->l->index, s->section == s->l->setup, line, len, &k, &side);

		snprintf(shown, sizeof(shown), "%.*s", len < 40 ? (int)len : 40, line);
		if (match == KEYWORD_FOUND) {
			snprintf(remedy, sizeof(remedy), "indent it: write a blank or a tab before %s",
				 shown);
			scan_error(s, remedy, "%s= stands in column 0", shown);
			return;
		}
	}
	value_printable(line, shown, 48);
	s->section = *rest == '=' ? s->section : NULL;
	if (*rest == '=') {
		scan_error(s, "indent it, and check its spelling",
			   "\"%s\" in column 0 is no section", shown);
		return;
	}
	s->skipping = true;
	scan_error(s, "write config setup, conn NAME or include FILE", "unknown section \"%s\"",
		   shown);
}

static void scan_header(struct scan *s, char *line)
{
	size_t len = strcspn(line, " \t\f\v");

	s->after_include = s->after_include && strchr(line, '=');
	if (len == 7 && strncasecmp(line, "version", 7) == 0)
		return; // `version 2.0`, of old
	if (len == 4 && strncasecmp(line, "conn", 4) == 0)
		begin_conn(s, line + len);
	else if (len == 6 && strncasecmp(line, "config", 6) == 0)
		begin_setup(s, line + len);
	else if (is_include(line))
		scan_include(s, line + 7);
	else
		scan_stray(s, line);
}

static void scan_line(struct scan *s, char *line, size_t len)
{
	size_t indent;

	if (memchr(line, '\0', len)) {
		scan_error(s, "remove it", "a NUL byte");
		return;
	}
	if (len > LINE_MAX_LEN) {
		scan_error(s, "split it", "a line of over %d bytes", LINE_MAX_LEN);
		return;
	}
	line[len] = '\0'; // the line's own end: a text is terminated behind its last line too
	indent = blanks(line);
	if (!line[indent] || line[indent] == '#')
		return;
	if (indent)
		scan_indented(s, line + indent);
	else
		scan_header(s, line);
}

static void scan_file(struct loader *l, const char *path, const struct scan *from)
{
	struct scan s = { .l = l, .depth = from ? from->depth + 1 : 0 };
	struct diag_at at = from ? scan_at(from) : (struct diag_at){ .file = path };
	struct file_text text;
	size_t pos = 0, len;
	char why[300] = "", shown[200], *line;

	value_printable(path, shown, sizeof(shown));
	switch (file_read(&l->files, path, from != NULL, false, &text, why, sizeof(why))) {
	case FILE_READ:
		break;
	case FILE_SEEN:
		problem_at(l, DIAG_WARNING, at, "remove one of the includes",
			   "%s is included already and is not read again", shown);
		return;
	case FILE_ABSENT:
	case FILE_FAILED:
		problem_at(l, DIAG_ERROR, at, NULL, "cannot read %s: %s", shown, why);
		return;
	}
	s.file = arena_strdup(l->keep, path);
	if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
		pos = 3; // a byte order mark that an editor left
	while (s.file && file_next_line(&text, &pos, &line, &len)) {
		s.line++;
		scan_line(&s, line, len);
	}
	file_text_free(&text);
}

void scanner_read(struct loader *l, const char *path)
{
	l->defaults.tail = &l->defaults.first;
	l->conns.tail = &l->conns.first;
	l->setup = section_new(l, NULL, "config setup", NULL);
	if (l->setup)
		scan_file(l, path, NULL);
}
