/* Sizes and marks of the wire format, RFC 7296 §3: shared by decoder and builder only. */
#ifndef IKE_MESSAGE_WIRE_H
#define IKE_MESSAGE_WIRE_H

enum {
	WIRE_VERSION = 0x20, /* major 2, minor 0 */
	WIRE_FLAG_INITIATOR = 0x08,
	WIRE_FLAG_RESPONSE = 0x20,
	WIRE_CRITICAL = 0x80,

	WIRE_HEADER_NEXT = 16, /* offsets in the IKE header */
	WIRE_HEADER_LENGTH = 24,

	WIRE_GENERIC_BYTES = 4,   /* generic payload header */
	WIRE_PROPOSAL_BYTES = 8,  /* proposal without SPI and transforms */
	WIRE_TRANSFORM_BYTES = 8, /* transform without attributes */
	WIRE_TS_BYTES = 8,        /* traffic selector without addresses */

	WIRE_MORE_PROPOSALS = 2, /* "Last Substruc" fields */
	WIRE_MORE_TRANSFORMS = 3,

	WIRE_ATTRIBUTE_TV = 0x8000, /* AF bit: the value stands in place of the length */
	WIRE_KEY_LENGTH = 14,

	WIRE_TS_IPV4 = 7,
	WIRE_TS_IPV6 = 8,
};

#endif
