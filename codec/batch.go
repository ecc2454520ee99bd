// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import "encoding/binary"

// A BatchDecoder is a [Decoder] that finds many frames for little more than the cost of one: for a program whose
// buffer holds hundreds of short frames. [Fixed] and [LengthField] are BatchDecoders; [DecodeBatch] takes any Decoder.
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

func (f fixed) DecodeBatch(payloads [][]byte, src []byte, _ int) (frames, n, need int, err error) {
	size := int(f)
	if whole := len(src) / size; whole < len(payloads) {
		payloads, need = payloads[:whole], size
	}
	for i := range payloads {
		end := n + size
		payloads[i] = src[n:end:end]
		n = end
	}
	return len(payloads), n, need, nil
}

// DecodeBatch guesses that a frame is as long as the one before it. Where the next frame starts then does not depend
// on a length that must be loaded first: the processor looks at several headers at once, and a wrong guess is found by
// comparing.
func (c *lengthField) DecodeBatch(payloads [][]byte, src []byte, _ int) (frames, n, need int, err error) {
	for frames < len(payloads) {
		payload, size, need, err := c.Decode(src[n:], 0)
		if size == 0 {
			return frames, n, need, err
		}
		payloads[frames] = payload
		frames++
		alike := payloads[frames : frames+c.alike(src[n:], size, len(payloads)-frames)]
		n += size
		start := n + c.strip
		for i := range alike {
			n += size
			alike[i] = src[start:n:n]
			start += size
		}
		frames += len(alike)
	}
	return frames, n, 0, nil
}

// alike returns how many whole frames, at most limit, follow the first of src with the same length, which is size bytes.
func (c *lengthField) alike(src []byte, size, limit int) (frames int) {
	headers := src[c.offset:]
	if size < 8 || size-8 < c.offset {
		return 0 // eight bytes behind the offset may reach beyond the frame
	}
	mask := ^uint64(0) >> (c.shift & 63) // the field's bytes come first, whatever their order
	want := binary.LittleEndian.Uint64(headers) & mask
	limit = min(limit, len(src)/size-1)
	for at := size; frames < limit; frames++ {
		if binary.LittleEndian.Uint64(headers[at:at+8])&mask != want {
			break
		}
		at += size
	}
	return frames
}
