/* A stand-in on loopback for a service that hands out keys: answers what the test says, one answer
 * a connection, with TLS (STS) or without (instance metadata, containers), and keeps what it was
 * asked. */
#ifndef MAILHAUL_TEST_AWS_SERVER_H
#define MAILHAUL_TEST_AWS_SERVER_H

#include <stdlib.h>

#include "tests/unit/tls_server.h"

enum { STAND_ANSWERS_MAX = 10 };

struct stand {
	struct server server;
	/* "STATUS BODY", or all of it where it begins with "HTTP"; NULL: it hears and is silent. */
	const char *_Atomic answers[STAND_ANSWERS_MAX];
	char heard[STAND_ANSWERS_MAX][24 * 1024];
	_Atomic unsigned heard_count;
};

static inline bool stand_hears(struct server *server, char *to, size_t room)
{
	size_t used = 0;
	char *end, *length;
	long got;

	for (;;) {
		got = server->ssl ? SSL_read(server->ssl, to + used, (int)(room - 1 - used))
				  : read(server->fd, to + used, room - 1 - used);
		if (got <= 0)
			return false;
		used += (size_t)got;
		to[used] = '\0';
		end = strstr(to, "\r\n\r\n");
		length = strstr(to, "Content-Length: ");
		if (end &&
		    used >= (size_t)(end + 4 - to) + (length ? strtoul(length + 16, NULL, 10) : 0))
			return true;
	}
}

static inline void stand_answers_one(struct stand *stand)
{
	struct server *server = &stand->server;
	const char *answer = stand->answers[stand->heard_count];
	char head[200];

	if (!stand_hears(server, stand->heard[stand->heard_count], sizeof stand->heard[0]))
		return;
	stand->heard_count++;
	if (answer && strncmp(answer, "HTTP", 4) != 0) {
		snprintf(head, sizeof head, "HTTP/1.1 %.3s X\r\nContent-Length: %zu\r\n\r\n",
			 answer, strlen(answer + 4));
		say(server, head);
		answer += 4;
	}
	if (answer)
		say(server, answer);
	if (answer && !server->ssl)
		shutdown(server->fd, SHUT_WR);
	hear_end(server);
}

static inline void stand_behaves(struct server *server)
{
	struct stand *stand = CONTAINER_OF(server, struct stand, server);

	for (;;) {
		stand_answers_one(stand);
		SSL_free(server->ssl);
		server->ssl = NULL;
		close(server->fd);
		if (stand->heard_count == STAND_ANSWERS_MAX ||
		    (server->fd = accept(server->listener, NULL, NULL)) < 0)
			return;
		if (!server->without_tls)
			server_tls(server);
		if (!server->ssl && !server->without_tls)
			return;
	}
}

static inline bool stand_open(struct stand *stand, bool with_tls)
{
	*stand = (struct stand){ .server = { .behave = stand_behaves, .without_tls = !with_tls } };
	return server_start(&stand->server);
}

static inline void stand_close(struct stand *stand)
{
	err_note_clear();
	server_stop(&stand->server);
}

/* "http://127.0.0.1:PORT" or "https://localhost:PORT", with `path` behind it, into $variable. */
static inline void stand_into(const struct stand *stand, const char *variable, const char *path)
{
	char url[200];

	snprintf(url, sizeof url, "%s:%u%s",
		 stand->server.without_tls ? "http://127.0.0.1" : "https://localhost",
		 stand->server.port, path);
	setenv(variable, url, 1);
}

/* What the last error says; no secret of the stand-ins'. It is forgotten. */
static inline void stand_check_said(const char *words)
{
	if (!strstr(err_note()->text, words))
		test_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", err_note()->text,
			    words);
	if (strstr(err_note()->text, "hunter2"))
		test_failed(__FILE__, __LINE__, "\"%s\" tells a secret", err_note()->text);
	err_note_clear();
}

/* None of what a developer's own environment says. */
static inline void stand_clear_environment(void)
{
	static const char *const names[] = {
		"AWS_PROFILE",
		"AWS_DEFAULT_PROFILE",
		"AWS_REGION",
		"AWS_DEFAULT_REGION",
		"AWS_CA_BUNDLE",
		"AWS_USE_FIPS_ENDPOINT",
		"AWS_USE_DUALSTACK_ENDPOINT",
		"AWS_ENDPOINT_URL",
		"AWS_ENDPOINT_URL_S3",
		"AWS_ENDPOINT_URL_KMS",
		"AWS_ENDPOINT_URL_STS",
		"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
		"AWS_CONFIG_FILE",
		"AWS_SHARED_CREDENTIALS_FILE",
		"AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",
		"AWS_CREDENTIAL_EXPIRATION",
		"AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_ROLE_ARN",
		"AWS_ROLE_SESSION_NAME",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_EC2_METADATA_DISABLED",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
	};

	for (size_t i = 0; i < ARRAY_COUNT(names); i++)
		unsetenv(names[i]);
}

#endif
