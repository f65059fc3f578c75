#include "transport/aws_request.h"

#include "engine/log.h"

void aws_request_tell(const struct aws_listener *listener, const struct aws_request *request)
{
	if (listener)
		listener->tell(listener->context, request);
	log_event(log_traces() ? LOG_TRACE : LOG_DEBUG, "aws.request",
		  "service=%s operation=%s host=%s !key=\"%s\" attempt=%u status=%u error=%s "
		  "code=\"%s\" !message=\"%s\" request_id=\"%s\" ms=%lld sent=%llu received=%llu",
		  request->service, request->operation, request->host, request->key,
		  request->attempt, request->status, err_name(request->error), request->code,
		  request->message, request->request_id,
		  (long long)(request->duration / NSEC_MILLISECOND),
		  (unsigned long long)request->bytes_sent,
		  (unsigned long long)request->bytes_received);
}
