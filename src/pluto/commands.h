/* What the control socket's requests do. */
#ifndef PLUTO_COMMANDS_H
#define PLUTO_COMMANDS_H

struct request;

/** Run a request; it ends now, or when what it waits for has happened. */
void command_run(struct request *r);

#endif
