/* S3's XML: see s3_xml.h. Tables, and little else. */
#include "transport/s3_xml.h"

/* A struct's member of that name for the element of that name. */
#define CHARS(path, type, member)    XML_FIELD(path, XML_CHARS, struct type, member)
#define CUT(path, type, member)	     XML_FIELD(path, XML_CHARS_CUT, struct type, member)
#define NUMBER(path, type, member)   XML_FIELD(path, XML_NUMBER, struct type, member)
#define BOOL(path, type, member)     XML_FIELD(path, XML_BOOL, struct type, member)
#define MOMENT(path, type, member)   XML_FIELD(path, XML_TIME, struct type, member)
#define REQUIRED(path, type, member) XML_FIELD_REQUIRED(path, XML_CHARS, struct type, member)
#define CHECKSUMS(type)                                                                            \
	CHARS("ChecksumCRC32", type, checksums.crc32),                                             \
		CHARS("ChecksumCRC32C", type, checksums.crc32c),                                   \
		CHARS("ChecksumCRC64NVME", type, checksums.crc64nvme),                             \
		CHARS("ChecksumSHA1", type, checksums.sha1),                                       \
		CHARS("ChecksumSHA256", type, checksums.sha256)

/* ---- errors ---- */

static const struct xml_field error_fields[] = {
	REQUIRED("Code", s3_error, code),
	CUT("Message", s3_error, message),
	CUT("Key", s3_error, key),
	CUT("BucketName", s3_error, bucket),
	CUT("Bucket", s3_error, bucket), /* so of redirects */
	CUT("Region", s3_error, region),
	CUT("Endpoint", s3_error, endpoint),
	CUT("RequestId", s3_error, request_id),
	CUT("HostId", s3_error, host_id),
};
const struct xml_form s3_xml_error = XML_FORM("Error", struct s3_error, error_fields);

/* ---- uploads in parts ---- */

static const struct xml_field upload_begun_fields[] = {
	CHARS("Bucket", s3_upload_begun, bucket),
	CHARS("Key", s3_upload_begun, key),
	REQUIRED("UploadId", s3_upload_begun, upload_id),
};
const struct xml_form s3_xml_upload_begun =
	XML_FORM("InitiateMultipartUploadResult", struct s3_upload_begun, upload_begun_fields);

static const struct xml_field upload_completed_fields[] = {
	CUT("Location", s3_upload_completed, location),
	CHARS("Bucket", s3_upload_completed, bucket),
	CHARS("Key", s3_upload_completed, key),
	CHARS("ETag", s3_upload_completed, etag),
	CHARS("ChecksumType", s3_upload_completed, checksum_type),
	CHECKSUMS(s3_upload_completed),
};
const struct xml_form s3_xml_upload_completed = XML_FORM(
	"CompleteMultipartUploadResult", struct s3_upload_completed, upload_completed_fields);

static const struct xml_field uploads_fields[] = {
	XML_FIELD_REQUIRED("IsTruncated", XML_BOOL, struct s3_uploads, is_truncated),
	CHARS("NextKeyMarker", s3_uploads, next_key_marker),
	CHARS("NextUploadIdMarker", s3_uploads, next_upload_id_marker),
	CHARS("EncodingType", s3_uploads, encoding_type),
};
const struct xml_form s3_xml_uploads =
	XML_FORM("ListMultipartUploadsResult", struct s3_uploads, uploads_fields);

static const struct xml_field upload_fields[] = {
	REQUIRED("Key", s3_upload, key),
	REQUIRED("UploadId", s3_upload, upload_id),
	MOMENT("Initiated", s3_upload, initiated),
	CHARS("StorageClass", s3_upload, storage_class),
	CHARS("ChecksumAlgorithm", s3_upload, checksum_algorithm),
	CHARS("ChecksumType", s3_upload, checksum_type),
};
const struct xml_form s3_xml_upload =
	XML_FORM("ListMultipartUploadsResult/Upload", struct s3_upload, upload_fields);

static const struct xml_field parts_fields[] = {
	XML_FIELD_REQUIRED("IsTruncated", XML_BOOL, struct s3_parts, is_truncated),
	NUMBER("NextPartNumberMarker", s3_parts, next_part_number_marker),
	CHARS("Bucket", s3_parts, bucket),
	CHARS("Key", s3_parts, key),
	CHARS("UploadId", s3_parts, upload_id),
	CHARS("StorageClass", s3_parts, storage_class),
	CHARS("ChecksumAlgorithm", s3_parts, checksum_algorithm),
	CHARS("ChecksumType", s3_parts, checksum_type),
};
const struct xml_form s3_xml_parts = XML_FORM("ListPartsResult", struct s3_parts, parts_fields);

static const struct xml_field part_fields[] = {
	XML_FIELD_REQUIRED("PartNumber", XML_NUMBER, struct s3_part, part_number),
	XML_FIELD_REQUIRED("Size", XML_NUMBER, struct s3_part, size),
	MOMENT("LastModified", s3_part, last_modified),
	REQUIRED("ETag", s3_part, etag),
	CHECKSUMS(s3_part),
};
const struct xml_form s3_xml_part = XML_FORM("ListPartsResult/Part", struct s3_part, part_fields);

/* ---- what a bucket holds ---- */

static const struct xml_field objects_fields[] = {
	NUMBER("KeyCount", s3_objects, key_count),
	XML_FIELD_REQUIRED("IsTruncated", XML_BOOL, struct s3_objects, is_truncated),
	CHARS("NextContinuationToken", s3_objects, next_continuation_token),
	CHARS("EncodingType", s3_objects, encoding_type),
};
const struct xml_form s3_xml_objects =
	XML_FORM("ListBucketResult", struct s3_objects, objects_fields);

static const struct xml_field object_fields[] = {
	REQUIRED("Key", s3_object, key),
	XML_FIELD_REQUIRED("Size", XML_NUMBER, struct s3_object, size),
	CHARS("ETag", s3_object, etag),
	MOMENT("LastModified", s3_object, last_modified),
	XML_FIELD("ChecksumAlgorithm", XML_LIST, struct s3_object, checksum_algorithm),
	CHARS("ChecksumType", s3_object, checksum_type),
	CHARS("StorageClass", s3_object, storage_class),
};
const struct xml_form s3_xml_object =
	XML_FORM("ListBucketResult/Contents", struct s3_object, object_fields);

static const struct xml_field prefix_fields[] = {
	REQUIRED("Prefix", s3_prefix, prefix),
};
const struct xml_form s3_xml_prefix =
	XML_FORM("ListBucketResult/CommonPrefixes", struct s3_prefix, prefix_fields);

static const struct xml_field versions_fields[] = {
	XML_FIELD_REQUIRED("IsTruncated", XML_BOOL, struct s3_versions, is_truncated),
	CHARS("NextKeyMarker", s3_versions, next_key_marker),
	CHARS("NextVersionIdMarker", s3_versions, next_version_id_marker),
	CHARS("EncodingType", s3_versions, encoding_type),
};
const struct xml_form s3_xml_versions =
	XML_FORM("ListVersionsResult", struct s3_versions, versions_fields);

static const struct xml_field version_fields[] = {
	REQUIRED("Key", s3_version, key),
	REQUIRED("VersionId", s3_version, version_id),
	XML_FIELD_REQUIRED("IsLatest", XML_BOOL, struct s3_version, is_latest),
	NUMBER("Size", s3_version, size),
	CHARS("ETag", s3_version, etag),
	MOMENT("LastModified", s3_version, last_modified),
};
const struct xml_form s3_xml_version =
	XML_FORM("ListVersionsResult/Version", struct s3_version, version_fields);
const struct xml_form s3_xml_delete_marker =
	XML_FORM("ListVersionsResult/DeleteMarker", struct s3_version, version_fields);

/* ---- what a bucket is ---- */

static const struct xml_field location_fields[] = {
	CHARS("", s3_location, constraint),
};
const struct xml_form s3_xml_location =
	XML_FORM("LocationConstraint", struct s3_location, location_fields);

const char *s3_xml_region(const struct s3_location *location)
{
	if (!*location->constraint)
		return "us-east-1";
	return strcmp(location->constraint, "EU") == 0 ? "eu-west-1" : location->constraint;
}

static const struct xml_field versioning_fields[] = {
	CHARS("Status", s3_versioning, status),
	CHARS("MfaDelete", s3_versioning, mfa_delete),
};
const struct xml_form s3_xml_versioning =
	XML_FORM("VersioningConfiguration", struct s3_versioning, versioning_fields);

static const struct xml_field object_lock_fields[] = {
	CHARS("ObjectLockEnabled", s3_object_lock, enabled),
	CHARS("Rule/DefaultRetention/Mode", s3_object_lock, mode),
	NUMBER("Rule/DefaultRetention/Days", s3_object_lock, days),
	NUMBER("Rule/DefaultRetention/Years", s3_object_lock, years),
};
const struct xml_form s3_xml_object_lock =
	XML_FORM("ObjectLockConfiguration", struct s3_object_lock, object_lock_fields);

static const struct xml_field encryption_fields[] = {
	CHARS("Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm", s3_encryption, sse_algorithm),
	CHARS("Rule/ApplyServerSideEncryptionByDefault/KMSMasterKeyID", s3_encryption,
	      kms_master_key_id),
	BOOL("Rule/BucketKeyEnabled", s3_encryption, bucket_key_enabled),
};
const struct xml_form s3_xml_encryption =
	XML_FORM("ServerSideEncryptionConfiguration", struct s3_encryption, encryption_fields);

static const struct xml_field replication_fields[] = {
	CHARS("Role", s3_replication, role),
};
const struct xml_form s3_xml_replication =
	XML_FORM("ReplicationConfiguration", struct s3_replication, replication_fields);

static const struct xml_field rule_fields[] = {
	CHARS("ID", s3_replication_rule, id),
	REQUIRED("Status", s3_replication_rule, status),
	NUMBER("Priority", s3_replication_rule, priority),
	CHARS("Prefix", s3_replication_rule, prefix),
	CHARS("Filter/Prefix", s3_replication_rule, filter_prefix),
	CHARS("Filter/And/Prefix", s3_replication_rule, and_prefix),
	CHARS("Destination/Bucket", s3_replication_rule, destination_bucket),
	CHARS("Destination/Account", s3_replication_rule, destination_account),
	CHARS("Destination/StorageClass", s3_replication_rule, destination_storage_class),
	CHARS("DeleteMarkerReplication/Status", s3_replication_rule, delete_markers),
	CHARS("ExistingObjectReplication/Status", s3_replication_rule, existing_objects),
};
const struct xml_form s3_xml_replication_rule =
	XML_FORM("ReplicationConfiguration/Rule", struct s3_replication_rule, rule_fields);

static const struct xml_field public_access_block_fields[] = {
	BOOL("BlockPublicAcls", s3_public_access_block, block_public_acls),
	BOOL("IgnorePublicAcls", s3_public_access_block, ignore_public_acls),
	BOOL("BlockPublicPolicy", s3_public_access_block, block_public_policy),
	BOOL("RestrictPublicBuckets", s3_public_access_block, restrict_public_buckets),
};
const struct xml_form s3_xml_public_access_block =
	XML_FORM("PublicAccessBlockConfiguration", struct s3_public_access_block,
		 public_access_block_fields);

static const struct xml_field policy_status_fields[] = {
	BOOL("IsPublic", s3_policy_status, is_public),
};
const struct xml_form s3_xml_policy_status =
	XML_FORM("PolicyStatus", struct s3_policy_status, policy_status_fields);

/* ---- deleting ---- */

static const struct xml_field deleted_fields[] = {
	REQUIRED("Key", s3_deleted, key),
	CHARS("VersionId", s3_deleted, version_id),
	BOOL("DeleteMarker", s3_deleted, delete_marker),
	CHARS("DeleteMarkerVersionId", s3_deleted, delete_marker_version_id),
};
const struct xml_form s3_xml_deleted =
	XML_FORM("DeleteResult/Deleted", struct s3_deleted, deleted_fields);

static const struct xml_field delete_failed_fields[] = {
	CHARS("Key", s3_delete_failed, key),
	CHARS("VersionId", s3_delete_failed, version_id),
	REQUIRED("Code", s3_delete_failed, code),
	CUT("Message", s3_delete_failed, message),
};
const struct xml_form s3_xml_delete_failed =
	XML_FORM("DeleteResult/Error", struct s3_delete_failed, delete_failed_fields);

/* ---- encoding-type=url ---- */

bool s3_xml_url_decode(char *text)
{
	char *to = text;
	uint8_t byte;

	for (; *text; text++) {
		if (*text != '%') {
			*to++ = *text == '+' ? ' ' : *text;
			continue;
		}
		if (!text[1] || !bytes_from_hex(&byte, 1, (struct text){ text + 1, 2 }) || !byte)
			return false;
		*to++ = (char)byte;
		text += 2;
	}
	*to = '\0';
	return true;
}

/* ---- CompleteMultipartUpload ---- */

void s3_xml_complete_begin(struct buffer *to)
{
	buffer_add_text(to, "<CompleteMultipartUpload "
			    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
}

static bool add_element(struct buffer *to, const char *name, struct text value)
{
	buffer_addf(to, "<%s>", name);
	if (!xml_escape(to, value))
		return false;
	buffer_addf(to, "</%s>", name);
	return true;
}

bool s3_xml_complete_part(struct buffer *to, unsigned number, struct text etag,
			  const char *checksum_name, struct text checksum)
{
	must(number >= 1 && number <= S3_PARTS_MAX);
	if (etag.bytes > S3_ETAG_BYTES_MAX || checksum.bytes > S3_CHECKSUM_BYTES_MAX)
		return false;
	buffer_addf(to, "<Part><PartNumber>%u</PartNumber>", number);
	if (!add_element(to, "ETag", etag) ||
	    (checksum_name && !add_element(to, checksum_name, checksum)))
		return false;
	buffer_add_text(to, "</Part>");
	return true;
}

void s3_xml_complete_end(struct buffer *to)
{
	buffer_add_text(to, "</CompleteMultipartUpload>");
}
