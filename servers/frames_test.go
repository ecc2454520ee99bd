// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each frame comes back with its length before it; the first error ends the connection, after the frames before it were
// answered, without a reset, and is logged.
func TestFrames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		codec string
		input string // hex, blanks are for reading
		want  []string
		log   string // a part of the log line; "" if there is no error
	}{
		{"fixed:3", "616263 646566", []string{"abc", "def"}, ""},
		{"fixed:3", "616263 6465", []string{"abc"}, "after 2 bytes"},
		{"fixed:3", "", nil, ""},
		{"len:1", "0161 00 026263", []string{"a", "", "bc"}, ""},
		{"len:2", "0003616263 0001", []string{"abc"}, "after 2 bytes"},
		{"len:2", "0003616263 00", []string{"abc"}, "after 1 bytes"},
		{"len:4", "00000001ff 00000000", []string{"\xff", ""}, ""},
		{"len:4,max=16", "0000000c6162636465666768696a6b6c 0000000d61", []string{"abcdefghijkl"}, "frame of 17 bytes exceeds the limit of 16"},
		{"len:8", "ffffffffffffffff", nil, "exceeds the limit of 1048576"},
		{"len:8", "0000000000000001 61", []string{"a"}, ""},
		{"length:size=4", "00000002 6162", []string{"\x00\x00\x00\x02ab"}, ""},
		{"length:size=2,order=little,strip=2", "0200 6162 0100 63", []string{"ab", "c"}, ""},
		{"length:size=2,offset=1,adjust=1,strip=3", "ca0005fe68656c6c6f", []string{"\xfehello"}, ""},
		{"length:adjust=-4,strip=4", "0000000541 00000003", []string{"A"}, "malformed frame of 3 bytes"},
		{"length:size=1,max=8", "0161 08", []string{"\x01a"}, "frame of 9 bytes exceeds the limit of 8"},
		{"varint", "0161 00 026263 02", []string{"a", "", "bc"}, "inside a frame"},
		{"varint:max=2", "0161 03", []string{"a"}, "exceeds the limit of 2"},
		{"line", "61620d0a 0a 630a 64", []string{"ab", "", "c"}, "inside a frame"},
		{"line:max=2", "61620d0a 636465", []string{"ab"}, "exceeds the limit of 2"},
		{"delim:hex=0d0a+3b", "613b 0d0a 62633b", []string{"a", "", "bc"}, ""},
		{"delim:hex=00,keep", "6100 00", []string{"a\x00", "\x00"}, ""},
		{"netstring", "323a68692c 303a2c", []string{"hi", ""}, ""},
		{"netstring", "313a782c 313a7878", []string{"x"}, "malformed"},
	} {
		t.Run(test.codec, func(t *testing.T) {
			t.Parallel()
			input, err := hex.DecodeString(strings.ReplaceAll(test.input, " ", ""))
			require.NoError(t, err)
			for _, url := range []string{"tcp://127.0.0.1:0", "unix://" + socketPath(t)} {
				s := start(t, "frames", "-codec", test.codec, "-listen", url)
				require.Equal(t, test.want, split(t, s.ask(input)), "in one piece")
				if test.log != "" {
					s.logs("level=INFO", "decoding failed", test.log)
				}

				c := s.dial()
				for _, b := range input {
					_, err := c.Write([]byte{b})
					require.NoError(t, err)
				}
				require.NoError(t, c.CloseWrite())
				answers, err := io.ReadAll(c)
				require.NoError(t, err)
				require.Equal(t, test.want, split(t, answers), "byte by byte")
				s.stop()
			}
		})
	}
}

// A client that goes on sending beyond an error still gets the answers to the frames before it, and a clean end.
func TestFramesBeyondAnError(t *testing.T) {
	t.Parallel()
	input := binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x02hi"), 1<<31)
	input = append(input, make([]byte, 32<<10)...)
	for _, url := range []string{"tcp://127.0.0.1:0", "unix://" + socketPath(t)} {
		s := start(t, "frames", "-codec", "len:4", "-listen", url)
		for range 20 {
			require.Equal(t, []string{"hi"}, split(t, s.ask(input)))
		}
		s.stop()
	}
}

// Raw frames are whatever reads bring, so only their content is known.
func TestFramesRaw(t *testing.T) {
	t.Parallel()
	s := start(t, "frames", "-codec", "raw")
	sent := make([]byte, 256<<10)
	_, err := random(1).Read(sent)
	require.NoError(t, err)
	c := s.dial()
	inParallel(t, 2, func(i int) error {
		if i == 0 {
			if _, err := c.Write(sent); err != nil {
				return err
			}
			return c.CloseWrite()
		}
		answers, err := io.ReadAll(c)
		if got := strings.Join(split(t, answers), ""); err == nil && got != string(sent) {
			err = fmt.Errorf("%d bytes came back for %d, or others", len(got), len(sent))
		}
		return err
	})
	s.stop()
}

// A frame above the reactor's own bound on unconsumed input, and many small ones behind it, all at once.
func TestFramesOfAllSizes(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"info", "debug"} { // debug puts a handler around the codec's
		s := start(t, "frames", "-codec", "len:4,max=8MiB", "-log-level", level)
		var input []byte
		for n := 5 << 20; n > 0; n /= 2 {
			input = append(binary.BigEndian.AppendUint32(input, uint32(n)), bytes.Repeat([]byte{byte(n)}, n)...)
		}
		input = append(input, bytes.Repeat([]byte("\x00\x00\x00\x01x"), 10_000)...)
		c := s.dial()
		inParallel(t, 2, func(i int) error {
			if i == 0 {
				if _, err := c.Write(input); err != nil {
					return err
				}
				return c.CloseWrite()
			}
			if err := expect(c, bytes.NewReader(input), len(input)); err != nil {
				return err
			}
			return expectEnd(c)
		})
		s.stop()
	}
}

// split takes answers apart.
func split(t *testing.T, answers []byte) (payloads []string) {
	for len(answers) > 0 {
		require.GreaterOrEqual(t, len(answers), 4)
		n := int(binary.BigEndian.Uint32(answers))
		answers = answers[4:]
		require.GreaterOrEqual(t, len(answers), n)
		payloads = append(payloads, string(answers[:n]))
		answers = answers[n:]
	}
	return payloads
}

// Marks that are equal leave nothing between "stop reading" and "take no more": answers that fill it to the byte are
// not lost.
func TestFramesWithEqualMarks(t *testing.T) {
	t.Parallel()
	s := start(t, "frames", "-codec", "fixed:252", "-high-water", "32KiB", "-max-output", "32KiB") // an answer has 256 bytes
	c := s.dial()
	const frames = 10_000
	inParallel(t, 2, func(i int) error {
		if i == 0 {
			if err := sendRandom(c, 1, 252*frames); err != nil {
				return err
			}
			return c.CloseWrite()
		}
		answers, err := io.ReadAll(c)
		if err == nil && len(answers) != 256*frames {
			err = fmt.Errorf("%d bytes came of %d", len(answers), 256*frames)
		}
		return err
	})
	c.Close()
	s.stop()
}
