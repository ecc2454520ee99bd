// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec/internal/conformance"
)

func TestConformance(t *testing.T) {
	ran := map[string]int{}
	for _, v := range conformance.All(t, ".") {
		ran[v.Codec]++
		t.Run(v.ID, func(t *testing.T) {
			if message := v.Refused(); message != "" {
				require.EqualError(t, v.Delimiter(t).Validate(), message)
				return
			}
			dec := v.Decoder(t)
			frames, kind := v.Expected(t)

			got := receive(t, dec, v.Reads, v.EOF)
			require.Equal(t, frames, got.frames)
			require.Equal(t, kind, conformance.KindOf(got.err), "%v", got.err)

			wire := v.Wire()
			rapid.Check(t, func(rt *rapid.T) {
				require.Equal(rt, got, requireSplitInvariant(rt, dec, wire, cut(rt, wire), v.EOF))
			})
		})
	}
	require.Equal(t, map[string]int{
		"len": 36, "fixed": 1, "varint": 8, "line": 9, "lines": 9, "delim": 12, "any": 6,
	}, ran)
}
