// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/quartet-go/quartet/codec"
	"github.com/quartet-go/quartet/codec/internal/conformance"
)

// sources are the ways in which an io.Reader may deliver the same bytes.
var sources = []struct {
	name string
	open func(wire []byte) io.Reader
}{
	{"whole", func(wire []byte) io.Reader { return bytes.NewReader(wire) }},
	{"1 byte", func(wire []byte) io.Reader { return iotest.OneByteReader(bytes.NewReader(wire)) }},
	{"3 bytes", func(wire []byte) io.Reader { return inReads(wire, 3) }},
	{"7 bytes", func(wire []byte) io.Reader { return inReads(wire, 7) }},
	{"half", func(wire []byte) io.Reader { return iotest.HalfReader(bytes.NewReader(wire)) }},
	{"99 times nothing", func(wire []byte) io.Reader { return inReads(wire, append(make([]int, 99), 5)...) }},
	{"end with data", func(wire []byte) io.Reader { return iotest.DataErrReader(bytes.NewReader(wire)) }},
	{"end with 1 byte", func(wire []byte) io.Reader {
		return iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(wire)))
	}},
}

// However the bytes come, the frames and the error are those of the whole.
func TestReaderConformance(t *testing.T) {
	for _, v := range conformance.All(t, ".") {
		if v.Refused() != "" {
			continue
		}
		dec, wire := v.Decoder(t), v.Wire()
		whole := receive(t, dec, [][]byte{wire}, true)
		for _, source := range sources {
			t.Run(v.ID+" "+source.name, func(t *testing.T) {
				r := codec.NewReader(source.open(wire), dec)
				require.Equal(t, whole, readAll(r))
				_, again := r.ReadFrame()
				require.Equal(t, final(whole.err), again)

				var got outcome
				for payload, err := range codec.NewReader(source.open(wire), dec).Frames() {
					got.add(payload, err)
				}
				require.Equal(t, whole, got)
			})
		}
	}
}

func TestReaderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wire []byte
		dec := codec.LengthPrefix(2, 9_000)
		for range rapid.IntRange(0, 20).Draw(t, "frames") {
			size := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 9_000)).Draw(t, "size")
			wire = append(append(wire, byte(size>>8), byte(size)), bytesOf(size, size).Draw(t, "payload")...)
		}
		wire = wire[:len(wire)-rapid.IntRange(0, min(3, len(wire))).Draw(t, "cut off")]

		counts := rapid.SliceOf(rapid.SampledFrom([]int{0, 1, 3, 7, 1_000, 5_000, 100_000})).Draw(t, "bytes a read")
		var src io.Reader = inReads(wire, append(counts, 2_000)...)
		if rapid.Bool().Draw(t, "end with data") {
			src = iotest.DataErrReader(src)
		}
		require.Equal(t, receive(t, dec, [][]byte{wire}, true), readAll(codec.NewReader(src, dec)))
	})
}

// FuzzReader reads frames of any format in reads of any sizes.
func FuzzReader(f *testing.F) {
	for _, spec := range []string{"fixed:3", "len:2", "length:size=1,max=9", "varint", "line:max=5", "delim:hex=0d0a+0a,keep", "netstring"} {
		f.Add(spec, []byte("\x02hi\r\n\x005:hello,\n\x09"), []byte{1, 0, 3})
	}
	f.Fuzz(func(t *testing.T, spec string, wire, counts []byte) {
		dec, err := codec.Parse(spec)
		if err != nil || spec == "raw" {
			t.Skip()
		}
		want := receive(t, dec, [][]byte{wire}, true)
		src := inReads(wire, 1)
		for _, n := range counts[:min(len(counts), 99)] {
			src.counts = append(src.counts, int(n))
		}
		require.Equal(t, want, readAll(codec.NewReader(src, dec)))

		var got outcome
		for payload, err := range codec.Frames(wire, dec) {
			got.add(payload, err)
		}
		require.Equal(t, want, got)
	})
}

// Raw's frames are the reads.
func TestReaderRaw(t *testing.T) {
	r := codec.NewReader(inReads([]byte("abcdefg"), 3), codec.Raw())
	require.Equal(t, outcome{frames: [][]byte{[]byte("abc"), []byte("def"), []byte("g")}}, readAll(r))
}

// While there is a whole frame left, nothing is read: the next Read might block.
func TestReaderReadsOnlyWhenItMust(t *testing.T) {
	src := inReads(make([]byte, 1_000), 1_000)
	r := codec.NewReader(src, codec.LengthPrefix(1, 0))
	for range 1_000 {
		payload, err := r.ReadFrame()
		require.NoError(t, err)
		require.Equal(t, []byte{}, payload)
		require.Equal(t, 1, src.reads)
	}
	_, err := r.ReadFrame()
	require.Equal(t, io.EOF, err)
}

// What comes with an error is delivered before it, and the error once; then it goes on.
func TestReaderGoesOnAfterTheSourcesErrors(t *testing.T) {
	broken := errors.New("broken")
	src := &steps{
		{data: "\x03abc\x03d", err: os.ErrDeadlineExceeded},
		{err: os.ErrDeadlineExceeded},
		{data: "ef"},
		{err: broken},
		{data: "\x01g\x02", err: io.EOF},
		{data: "never read"},
	}
	r := codec.NewReader(src, codec.LengthPrefix(1, 0))
	for _, want := range []struct {
		payload string
		err     error
	}{
		{"abc", nil},
		{"", os.ErrDeadlineExceeded},
		{"", os.ErrDeadlineExceeded},
		{"def", nil},
		{"", broken},
		{"g", nil},
		{"", &codec.TruncatedError{Have: 1, Need: 3}},
		{"", &codec.TruncatedError{Have: 1, Need: 3}},
	} {
		payload, err := r.ReadFrame()
		require.Equal(t, want.err, err)
		require.Equal(t, want.payload, string(payload))
	}
	require.ErrorIs(t, readAll(r).err, io.ErrUnexpectedEOF)
	require.Equal(t, "\x02", string(r.Buffered()))
	require.Len(t, *src, 1)

	r = codec.NewReader(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader([]byte("\x01a")))), codec.LengthPrefix(1, 0))
	_, err := r.ReadFrame()
	require.Equal(t, iotest.ErrTimeout, err)
	payload, err := r.ReadFrame()
	require.NoError(t, err)
	require.Equal(t, "a", string(payload))
}

func TestReaderWithoutProgress(t *testing.T) {
	src := inReads([]byte("\x01a"), append(make([]int, 100), 9)...)
	r := codec.NewReader(src, codec.LengthPrefix(1, 0))
	_, err := r.ReadFrame()
	require.Equal(t, io.ErrNoProgress, err)
	require.Equal(t, 100, src.reads)
	payload, err := r.ReadFrame()
	require.NoError(t, err)
	require.Equal(t, "a", string(payload))
}

func TestReaderOfImpossibleCounts(t *testing.T) {
	for n, want := range map[int]string{
		-1:   "codec: Read returned a count of -1 for 4096 bytes",
		4097: "codec: Read returned a count of 4097 for 4096 bytes",
	} {
		r := codec.NewReader(readerFunc(func([]byte) (int, error) { return n, nil }), codec.Raw())
		for range 2 {
			_, err := r.ReadFrame()
			require.EqualError(t, err, want)
		}
	}
}

// Decoding errors are final even if the source would go on.
func TestReaderErrorIsFinal(t *testing.T) {
	src := &steps{{data: "\x01a\x09"}, {data: "\x01b"}}
	r := codec.NewReader(src, codec.LengthPrefix(1, 8))
	payload, err := r.ReadFrame()
	require.NoError(t, err)
	require.Equal(t, "a", string(payload))
	for range 3 {
		_, err = r.ReadFrame()
		require.Equal(t, &codec.TooLongError{Length: 10, Max: 8}, err)
	}
	r.SetDecoder(codec.Raw())
	_, err = r.ReadFrame()
	require.Equal(t, &codec.TooLongError{Length: 10, Max: 8}, err)
	require.Len(t, *src, 1, "reads after the error")
}

// A protocol that changes its framing loses none of the bytes that came early, wherever reads cut them.
func TestReaderSetDecoder(t *testing.T) {
	const wire = "hello" + "\x00\x02ab" + "\x00\x00" + "the rest"
	for size := 1; size <= len(wire); size++ {
		src := inReads([]byte(wire), size)
		r := codec.NewReader(src, codec.Fixed(5))
		var got []string
		for range 3 {
			payload, err := r.ReadFrame()
			require.NoError(t, err)
			got = append(got, string(payload))
			r.SetDecoder(codec.LengthPrefix(2, 0))
		}
		rest, err := io.ReadAll(io.MultiReader(bytes.NewReader(r.Buffered()), src))
		require.NoError(t, err)
		require.Equal(t, []string{"hello", "ab", "", "the rest"}, append(got, string(rest)))
	}
}

// Also in the middle of what would have been a frame.
func TestReaderSetDecoderWhileWaiting(t *testing.T) {
	r := codec.NewReader(&steps{{data: "abc"}, {err: os.ErrDeadlineExceeded}}, codec.Line(5))
	_, err := r.ReadFrame()
	require.Equal(t, os.ErrDeadlineExceeded, err)
	r.SetDecoder(&once{Decoder: codec.Fixed(3), t: t})
	payload, err := r.ReadFrame()
	require.NoError(t, err)
	require.Equal(t, "abc", string(payload))
}

// Decode is told what it has seen, and called only when it can find more. A SplitFunc does the same.
func TestReaderDecodesOnce(t *testing.T) {
	for _, test := range []struct {
		dec  codec.Decoder
		wire string
	}{
		{codec.LengthPrefix(2, 0), "\x00\x03abc\x00\x00\x00\x01d"},
		{codec.Line(9), "abc\r\n\nd\n"},
	} {
		want := receive(t, test.dec, [][]byte{[]byte(test.wire)}, true)
		for _, source := range sources {
			dec := &once{Decoder: test.dec, t: t}
			require.Equal(t, want, readAll(codec.NewReader(source.open([]byte(test.wire)), dec)))
			require.Equal(t, want, scanAll(source.open([]byte(test.wire)), dec, 100))
		}
	}
}

// A decoder that asks for no more than there is gets more before it is asked again.
func TestReaderOfDecoderWithoutNeed(t *testing.T) {
	for _, source := range sources {
		dec := needless{codec.LengthPrefix(2, 0)}
		got := readAll(codec.NewReader(source.open([]byte("\x00\x03abc\x00")), dec))
		require.Equal(t, outcome{frames: [][]byte{[]byte("abc")}, err: &codec.TruncatedError{Have: 1}}, got, source.name)
	}
}

// once is a decoder that is called as its contract has it.
type once struct {
	codec.Decoder
	t          *testing.T
	seen, need int
}

func (o *once) Decode(src []byte, seen int) (payload []byte, n, need int, err error) {
	require.Equal(o.t, o.seen, seen)
	require.GreaterOrEqual(o.t, len(src), o.need)
	payload, n, need, err = o.Decoder.Decode(src, seen)
	o.seen, o.need = 0, need
	if n == 0 {
		o.seen = len(src)
	}
	return payload, n, need, err
}

// The buffer never has more than twice the bytes that came, or 4 KiB; for a frame, never more than the decoder's Max.
func TestReaderBufferIsBounded(t *testing.T) {
	const limit = 100_000
	wire := encode(t, codec.LengthPrefix(4, 0), [][]byte{make([]byte, limit-4)})
	for _, size := range []int{1, 1_000, 1 << 20} {
		var came, most int
		src := inReads(wire, size)
		r := codec.NewReader(readerFunc(func(p []byte) (int, error) {
			require.LessOrEqual(t, came+len(p), max(2*came, 4<<10))
			most = max(most, came+len(p))
			n, err := src.Read(p)
			came += n
			return n, err
		}), codec.LengthPrefix(4, limit))
		payload, err := r.ReadFrame()
		require.NoError(t, err)
		require.Len(t, payload, limit-4)
		require.Equal(t, limit, most)
	}

	// a decoder that has no Max, or breaks it
	for _, dec := range []codec.Decoder{decoderOnly{codec.LengthPrefix(4, 0)}, wrongMax{codec.LengthPrefix(4, 0)}} {
		got := readAll(codec.NewReader(bytes.NewReader(wire), dec))
		require.NoError(t, got.err)
		require.Len(t, got.frames[0], limit-4)
	}
}

// Where much arrives at once the buffer grows, so that fewer Reads are needed.
func TestReaderReadsMoreOfABusySource(t *testing.T) {
	src := inReads(make([]byte, 1<<20), 1<<20)
	require.NoError(t, readAll(codec.NewReader(src, codec.Fixed(64))).err)
	require.Less(t, src.reads, 24, "of 64 KiB, and a few smaller ones before")
	require.Greater(t, src.reads, 16, "of more than 64 KiB")

	src = inReads(make([]byte, 1<<20), 1_000)
	require.NoError(t, readAll(codec.NewReader(src, codec.Fixed(64))).err)
	require.Equal(t, 1<<20/1_000+1, src.reads)
}

func TestReaderAllocatesNothing(t *testing.T) {
	payload := make([]byte, 64)
	frame := encode(t, codec.LengthPrefix(4, 0), [][]byte{payload})
	r := codec.NewReader(&endless{data: frame}, codec.LengthPrefix(4, 0))
	for range 10_000 { // until the buffer has grown
		_, _ = r.ReadFrame()
	}
	require.Zero(t, testing.AllocsPerRun(10_000, func() { _, _ = r.ReadFrame() }))
	require.Zero(t, testing.AllocsPerRun(10, func() {
		n := 0
		for range r.Frames() {
			if n++; n == 10_000 {
				break
			}
		}
	}))
}

// The payload is the caller's to append to, until the next call.
func TestReaderPayloadHasNoRoom(t *testing.T) {
	r := codec.NewReader(bytes.NewReader([]byte("\x01a\x01b")), codec.LengthPrefix(1, 0))
	payload, err := r.ReadFrame()
	require.NoError(t, err)
	_ = append(payload, "xxxx"...)
	require.Equal(t, len(r.Buffered()), cap(r.Buffered()))
	payload, err = r.ReadFrame()
	require.NoError(t, err)
	require.Equal(t, "b", string(payload))
}

func TestFramesBreak(t *testing.T) {
	r := codec.NewReader(bytes.NewReader([]byte("abcd")), codec.Fixed(1))
	var got []byte
	for range 2 {
		for payload, err := range r.Frames() {
			require.NoError(t, err)
			got = append(got, payload...)
			break
		}
		for payload := range codec.Frames([]byte("xyz"), codec.Fixed(1)) {
			got = append(got, payload...)
			break
		}
	}
	require.Equal(t, "axbx", string(got))
	require.Equal(t, outcome{frames: [][]byte{[]byte("c"), []byte("d")}}, readAll(r))
}

func TestFramesConformance(t *testing.T) {
	for _, v := range conformance.All(t, ".") {
		if v.Refused() == "" {
			dec, wire := v.Decoder(t), v.Wire()
			var got outcome
			for payload, err := range codec.Frames(wire, dec) {
				got.add(payload, err)
			}
			require.Equal(t, receive(t, dec, [][]byte{wire}, true), got, v.ID)
		}
	}
}

func readAll(r *codec.Reader) (got outcome) {
	for {
		payload, err := r.ReadFrame()
		if err == io.EOF {
			return got
		}
		if got.add(payload, err); err != nil {
			return got
		}
	}
}

func (o *outcome) add(payload []byte, err error) {
	if err != nil {
		o.err = err
		return
	}
	o.frames = append(o.frames, append([]byte{}, payload...))
}

func final(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// A source delivers data in reads of the given numbers of bytes, over and over; 0 is a read that brings nothing.
type source struct {
	data   []byte
	counts []int
	reads  int
}

func inReads(data []byte, counts ...int) *source { return &source{data: data, counts: counts} }

func (s *source) Read(p []byte) (int, error) {
	if len(s.data) == 0 {
		return 0, io.EOF
	}
	count := s.counts[s.reads%len(s.counts)]
	s.reads++
	n := copy(p, s.data[:min(count, len(s.data))])
	s.data = s.data[n:]
	return n, nil
}

// steps are the results of one Read after the other.
type steps []step

type step struct {
	data string
	err  error
}

func (s *steps) Read(p []byte) (int, error) {
	step := (*s)[0]
	*s = (*s)[1:]
	return copy(p, step.data), step.err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// decoderOnly hides what a codec has besides Decode.
type decoderOnly struct{ codec.Decoder }

// needless does not tell what its decoder needs.
type needless struct{ codec.Decoder }

func (n needless) Decode(src []byte, seen int) (payload []byte, size, need int, err error) {
	payload, size, _, err = n.Decoder.Decode(src, seen)
	return payload, size, 0, err
}

// wrongMax understates what its decoder needs.
type wrongMax struct{ codec.Decoder }

func (wrongMax) Max() int { return 10 }
