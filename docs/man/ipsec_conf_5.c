/* Prints the manual page ipsec.conf(5); its keywords come from the one table. */
#include <stdio.h>

#include "base/text.h"
#include "config/keywords.h"

static const char *const head =
	".Dd November 23, 2026\n.Dt IPSEC.CONF 5\n.Os Sekisho\n.Sh NAME\n.Nm ipsec.conf\n"
	".Nd IPsec connections\n.Sh DESCRIPTION\n"
	"A file has sections.\nA section's first line begins in the first column:\n"
	".Cm config setup ,\nonce, for the daemon, or\n.Cm conn Ar name\nfor a connection.\n"
	"The lines of a section are indented:\n.Ar keyword Ns Cm = Ns Ar value .\n"
	"A value with blanks is quoted.\n.Ql #\nstarts a comment.\n"
	".Cm include Ar pattern\nreads other files, relative to the file that it stands in.\n.Pp\n"
	".Cm conn %default\ngives defaults to every connection, and\n.Cm also= Ns Ar name\n"
	"takes over another section's lines; what a connection says itself comes first.\n.Pp\n"
	"A line that is wrong sets only its own connection aside;\n.Cm ipsec checkconfig\n"
	"lists every such line with what would be right.\n.Pp\n"
	"A keyword of an end is written with\n.Cm left\nor\n.Cm right\nin front; "
	"which of the two is this host is found out from its addresses.\n";

/* Table text as mdoc: nothing in it may be taken for a request or an escape. */
static void print_text(const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", stdout);
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			fputs("\\e", stdout);
		else
			putchar(*s);
	}
}

static void print_keyword(const struct keyword *k)
{
	struct text values = { 0 };
	const char *status = keyword_status_name(k->status);

	printf(".It Cm %s%s=\n", k->scope == KEYWORD_END ? "left" : "", k->name);
	keyword_describe(k, &values);
	print_text(k->help != NULL ? k->help : "");
	printf(".\nValue: ");
	print_text(text_str(&values));
	if (k->fallback != NULL && k->fallback[0] != '\0') {
		printf("; default ");
		print_text(k->fallback);
	}
	puts(".");
	if (k->aliases != NULL) {
		printf("Also written ");
		print_text(k->aliases);
		puts(".");
	}
	if (status[0] != '\0') {
		printf(".Em ");
		print_text(status);
		puts(".");
	}
	text_free(&values);
}

static void print_scope(const char *title, enum keyword_scope scope)
{
	const struct keyword *k;

	printf(".Sh %s\n.Bl -tag -width Ds\n", title);
	for (size_t i = 0; (k = keyword_at(i)) != NULL; i++) {
		if (k->scope == scope)
			print_keyword(k);
	}
	puts(".El");
}

int main(void)
{
	fputs(head, stdout);
	print_scope("CONFIG SETUP", KEYWORD_SETUP);
	print_scope("CONN", KEYWORD_CONN);
	print_scope("CONN, EACH END", KEYWORD_END);
	puts(".Sh SEE ALSO\n.Xr ipsec.secrets 5 ,\n.Xr ipsec 8 ,\n.Xr pluto 8");
	return ferror(stdout) ? 1 : 0;
}
