// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"encoding/hex"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/quartet-go/quartet/codec"
)

// TestDrawings decodes the frames drawn in the documentation. Each box is a read.
func TestDrawings(t *testing.T) {
	drawing := regexp.MustCompile(`(?m)^//\t(\|(?: +[0-9a-f]{2})+ .*\|) +(.*)$`)
	box := regexp.MustCompile(`[0-9a-f]{2}(?: [0-9a-f]{2})*`)
	frame := regexp.MustCompile(`"[^"]*"`)

	for file, codecs := range map[string][]codec.Codec{
		"fixed.go": {codec.Fixed(3)},
		"raw.go":   {codec.Raw()},
		"lengthfield.go": {
			codec.LengthField(codec.LengthFieldOptions{Offset: 1, Size: 2, Adjust: 1, Strip: 3}),
			codec.LengthPrefix(2, 64),
		},
		"varint.go":    {codec.Varint(64)},
		"netstring.go": {codec.Netstring(64)},
		"line.go":      {codec.Line(64)},
		"delimiter.go": {codec.Delimiter(codec.DelimiterOptions{Delimiters: []string{"\r\n", ";"}, Max: 64})},
	} {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		drawings := drawing.FindAllStringSubmatch(string(source), -1)
		require.Len(t, drawings, len(codecs), file)
		for i, d := range drawings {
			var reads, want [][]byte
			for _, bytes := range box.FindAllString(d[1], -1) {
				read, err := hex.DecodeString(strings.ReplaceAll(bytes, " ", ""))
				require.NoError(t, err)
				reads = append(reads, read)
			}
			for _, text := range frame.FindAllString(d[2], -1) {
				payload, err := strconv.Unquote(text)
				require.NoError(t, err)
				want = append(want, []byte(payload))
			}
			require.Equal(t, outcome{frames: want}, receive(t, codecs[i], reads, true), d[0])
		}
	}
}

// TestTour runs the program in the package's documentation.
func TestTour(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(source), "\n\tpackage main\n")
	program, rest, _ := strings.Cut(rest, "\n\nIt prints\n\n")
	output, _, _ := strings.Cut(rest, "\n\n")

	program = "package main\n" + strings.ReplaceAll(program, "\n\t", "\n") + "\n"
	formatted, err := format.Source([]byte(program))
	require.NoError(t, err)
	require.Equal(t, string(formatted), program)

	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, formatted, 0o600))
	got, err := exec.Command("go", "run", file).CombinedOutput()
	require.NoError(t, err, "%s", got)
	require.Equal(t, strings.ReplaceAll("\n"+output, "\n\t", "\n"), "\n"+string(got[:len(got)-1]))
}
