// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

func TestErrors(t *testing.T) {
	for want, err := range map[string]error{
		"codec: frame of 70000 bytes exceeds the limit of 65536":             &codec.TooLongError{Length: 70000, Max: 65536},
		"codec: frame of at least 65537 bytes exceeds the limit of 65536":    &codec.TooLongError{Length: 65537, Max: 65536, AtLeast: true},
		"codec: malformed frame of 3 bytes, the shortest possible has 4":     &codec.MalformedError{Length: 3, Min: 4},
		"codec: malformed frame, byte 0x0a at offset 2 where a colon is due": &codec.MalformedError{Want: "a colon", Offset: 2, Byte: 10},
		"codec: stream ended inside a frame, after 3 bytes":                  &codec.TruncatedError{Have: 3},
		"codec: stream ended inside a frame, after 3 bytes of at least 9":    &codec.TruncatedError{Have: 3, Need: 9},
		"codec: payload of 300 bytes is outside 0..255":                      &codec.PayloadError{Length: 300, Max: 255},
		`codec: payload of 9 bytes would end after 7, where the delimiter "\r\n" begins`: &codec.PayloadError{
			Length: 9, Delimiter: "\r\n", End: 7},
		`codec: payload of 9 bytes does not end in a delimiter such as "\r\n"`: &codec.PayloadError{
			Length: 9, Delimiter: "\r\n", End: 9},
	} {
		require.EqualError(t, err, want)
	}
	require.ErrorIs(t, &codec.TruncatedError{}, io.ErrUnexpectedEOF)
	require.NotErrorIs(t, &codec.TooLongError{}, io.ErrUnexpectedEOF)
}
