// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int{
		"0": 0, "1": 1, "007": 7, "65536": 65536,
		"0KiB": 0, "64KiB": 64 << 10, "1MiB": 1 << 20, "1GiB": 1 << 30,
		fmt.Sprint(math.MaxInt):               math.MaxInt,
		fmt.Sprintf("%dKiB", math.MaxInt>>10): math.MaxInt >> 10 << 10,
		fmt.Sprintf("%dGiB", math.MaxInt>>30): math.MaxInt >> 30 << 30,
	} {
		got, err := codec.ParseSize(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
}

func TestParseSizeRefuses(t *testing.T) {
	for _, s := range []string{
		"", "KiB", "-1", "+1", "1.5MiB", "1e3", "0x10", "1_000", " 1", "1 ", "1 KiB", "1K", "1KB", "1kib", "1TiB", "1B", "1KiBKiB", "١",
	} {
		_, err := codec.ParseSize(s)
		require.EqualError(t, err, fmt.Sprintf("codec: size %q is not a whole number of bytes, KiB, MiB or GiB, like 65536 or 64KiB", s))
	}
	for _, s := range []string{
		"99999999999999999999", "99999999999999999999GiB", "18446744073709551616",
		fmt.Sprint(uint64(math.MaxInt) + 1),
		fmt.Sprintf("%dKiB", math.MaxInt>>10+1),
		fmt.Sprintf("%dGiB", math.MaxInt>>30+1),
	} {
		_, err := codec.ParseSize(s)
		require.EqualError(t, err, fmt.Sprintf("codec: size %q exceeds %d bytes", s, math.MaxInt))
	}
}
