// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
)

func TestRaw(t *testing.T) {
	c := codec.Raw()
	require.Equal(t, 1, c.Max())
	_, n, need, err := c.Decode(nil, 0)
	require.Equal(t, []any{0, 1, nil}, []any{n, need, err})

	rapid.Check(t, func(t *rapid.T) {
		wire := bytesOf(0, 100).Draw(t, "wire")
		reads := cut(t, wire)
		require.Equal(t, outcome{frames: reads}, receive(t, c, reads, true))

		framed, err := c.AppendFrame([]byte("before"), wire)
		require.NoError(t, err)
		require.Equal(t, append([]byte("before"), wire...), framed)
	})
}
