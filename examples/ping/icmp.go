// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package main

import "encoding/binary"

// An echo message of ICMP (RFC 792):
//
//	 0      1      2             4             6             8
//	+------+------+-------------+-------------+-------------+------
//	| type | code |  checksum   | identifier  |  sequence   | data
//	+------+------+-------------+-------------+-------------+------
const (
	echoReply   = 0
	echoRequest = 8
	headerSize  = 8
)

// appendEcho appends an echo request to dst, which is empty.
func appendEcho(dst []byte, id, sequence uint16, data []byte) []byte {
	dst = append(dst, echoRequest, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, id)
	dst = binary.BigEndian.AppendUint16(dst, sequence)
	dst = append(dst, data...)
	binary.BigEndian.PutUint16(dst[2:], checksum(dst))
	return dst
}

// parseReply returns what an echo reply says; ok is false for anything else.
func parseReply(message []byte) (id, sequence uint16, data []byte, ok bool) {
	if len(message) < headerSize || message[0] != echoReply || message[1] != 0 || checksum(message) != 0 {
		return 0, 0, nil, false
	}
	return binary.BigEndian.Uint16(message[4:]), binary.BigEndian.Uint16(message[6:]), message[headerSize:], true
}

// checksum is the Internet checksum (RFC 1071): 0 over a message that holds its own.
func checksum(p []byte) uint16 {
	sum := uint32(0)
	for ; len(p) >= 2; p = p[2:] {
		sum += uint32(binary.BigEndian.Uint16(p))
		sum = sum>>16 + sum&0xffff
	}
	if len(p) == 1 {
		sum += uint32(p[0]) << 8
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// withoutIPHeader returns what follows the header with which a raw socket delivers (RFC 791).
func withoutIPHeader(packet []byte) []byte {
	if len(packet) == 0 || packet[0]>>4 != 4 {
		return nil
	}
	if size := int(packet[0]&0xf) * 4; size >= 20 && size <= len(packet) {
		return packet[size:]
	}
	return nil
}
