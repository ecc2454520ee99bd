// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "encoding/binary"

// A BatchDecoder is a [Decoder] that finds many frames with one call, each for less than a call of Decode costs: for a
// program whose buffer holds hundreds of short frames. Those of [LengthField] cost the least where many in a row have one
// length. [Fixed] and [LengthField] make BatchDecoders; [DecodeBatch] takes any Decoder.
type BatchDecoder interface {
	Decoder
	// DecodeBatch decodes from the start of src until payloads is full, no further frame is found, or an error. It
	// sets payloads[:frames], each as Decode would return it, and n bytes of src are these frames. seen is what
	// Decode's is. Where frames < len(payloads), need or err is what Decode would return for src[n:]; else both are zero.
	DecodeBatch(payloads [][]byte, src []byte, seen int) (frames, n, need int, err error)
}

// DecodeBatch is dec's own DecodeBatch, where it has one, and otherwise does the same with Decode.
func DecodeBatch(dec Decoder, payloads [][]byte, src []byte, seen int) (frames, n, need int, err error) {
	if b, ok := dec.(BatchDecoder); ok {
		return b.DecodeBatch(payloads, src, seen)
	}
	return decodeEach(dec, payloads, src, seen)
}

func decodeEach(dec Decoder, payloads [][]byte, src []byte, seen int) (frames, n, need int, err error) {
	for i := range payloads {
		payload, size, need, err := dec.Decode(src[n:], seen)
		if size == 0 {
			return i, n, need, err
		}
		payloads[i] = payload
		n += size
		seen = 0
	}
	return len(payloads), n, 0, nil
}

// DecodeBatch fills four payloads a turn: with so little to do for each, the loop itself costs a tenth.
func (f fixed) DecodeBatch(payloads [][]byte, src []byte, _ int) (frames, n, need int, err error) {
	size := int(f)
	if whole := len(src) / size; whole < len(payloads) {
		payloads, need = payloads[:whole], size
	}
	frames = len(payloads)
	for len(payloads) >= 4 {
		a := n + size
		b := a + size
		c := b + size
		d := c + size
		four := (*[4][]byte)(payloads)
		four[0] = src[n:a:a]
		four[1] = src[a:b:b]
		four[2] = src[b:c:c]
		four[3] = src[c:d:d]
		n, payloads = d, payloads[4:]
	}
	for i := range payloads {
		end := n + size
		payloads[i] = src[n:end:end]
		n = end
	}
	return frames, n, need, nil
}

// DecodeBatch leaves to Decode the last frames of src, and what is wrong with one.
func (c *lengthField) DecodeBatch(payloads [][]byte, src []byte, _ int) (frames, n, need int, err error) {
	frames, n = c.decodeGood(payloads, src)
	more, rest, need, err := decodeEach(c, payloads[frames:], src[n:], 0)
	return frames + more, n + rest, need, err
}

// decodeGood decodes good frames, as long as the one behind has eight bytes from its length field on: enough to load a
// length of any size at once.
func (c *lengthField) decodeGood(payloads [][]byte, src []byte) (frames, n int) {
	if len(src)-8 < c.offset || len(src) < c.strip {
		return 0, 0
	}
	fields, bodies := src[c.offset:], src[c.strip:] // of the frame at n both are at n
	last := len(fields) - 8
	mask := ^uint64(0) >> (c.shift & 63) // of the eight bytes those of the field, which come first
	for frames < len(payloads) && n <= last {
		field := binary.LittleEndian.Uint64(fields[n : n+8])
		longer := c.length(field) - c.low
		if longer > c.span {
			break
		}
		size := c.shortest + int(longer)
		if size > last-n {
			break
		}
		length := size - c.strip
		end := n + length
		payloads[frames] = bodies[n:end:end]
		frames++
		n += size
		if length > 0 && (binary.LittleEndian.Uint64(fields[n:n+8])^field)&mask == 0 {
			alike := c.decodeAlike(payloads[frames:], src[n-size:], size)
			frames += alike
			n += alike * size
		}
	}
	return frames, n
}

// decodeAlike decodes the frames that follow the first of src and have the same length, which is size bytes.
//
// It guesses that each has. Where the next one starts then does not depend on a length that must be loaded first: the
// processor looks at several headers at once, and a wrong guess is found by comparing. Inlined it would lack registers.
//
//go:noinline
func (c *lengthField) decodeAlike(payloads [][]byte, src []byte, size int) (frames int) {
	fields, bodies := src[c.offset:], src[c.strip:]
	mask := ^uint64(0) >> (c.shift & 63)
	field := binary.LittleEndian.Uint64(fields[:8])
	length := size - c.strip
	if length <= 0 {
		return 0 // known to be positive, it spares the loop the care for empty payloads at the end of src
	}
	n, last := size, len(fields)-8-size
	for i := range payloads {
		if n > last || (binary.LittleEndian.Uint64(fields[n:n+8])^field)&mask != 0 {
			return i
		}
		end := n + length
		payloads[i] = bodies[n:end:end]
		n += size
	}
	return len(payloads)
}
