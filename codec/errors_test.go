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
		"codec: frame of 70000 bytes exceeds the limit of 65536":          &codec.TooLongError{Length: 70000, Max: 65536},
		"codec: malformed frame of 3 bytes, the shortest possible has 4":  &codec.MalformedError{Length: 3, Min: 4},
		"codec: stream ended inside a frame, after 3 bytes":               &codec.TruncatedError{Have: 3},
		"codec: stream ended inside a frame, after 3 bytes of at least 9": &codec.TruncatedError{Have: 3, Need: 9},
		"codec: payload of 300 bytes is outside 0..255":                   &codec.PayloadError{Length: 300, Max: 255},
	} {
		require.EqualError(t, err, want)
	}
	require.ErrorIs(t, &codec.TruncatedError{}, io.ErrUnexpectedEOF)
	require.NotErrorIs(t, &codec.TooLongError{}, io.ErrUnexpectedEOF)
}
