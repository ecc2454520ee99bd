// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
)

// LengthFieldOptions describes frames that say in a header how long they are. The zero value describes a 4-byte
// big-endian length, followed by that many bytes, all of which are the payload, the length included.
//
//	|<----- header ----->|<-- length + Adjust bytes -->|
//	+----------+---------+-----------------------------+
//	|  Offset  |  Size   |                             |
//	|  bytes   |  bytes  |                             |
//	+----------+---------+-----------------------------+
//	|<--------- Strip --------->|<------ payload ----->|
//
// The length is unsigned. A frame whose length exceeds Max is a [*TooLongError], one that would end before its
// header does, or before Strip, a [*MalformedError]; either is told as soon as the header is there.
type LengthFieldOptions struct {
	// Offset is how many bytes come before the length field, at least 0.
	Offset int
	// Size is how many bytes the length field has, 1 to 8. 0 means 4.
	Size int
	// LittleEndian says that the length's first byte is its lowest one. By default it is the highest.
	LittleEndian bool
	// Adjust is added to the length to get the number of bytes after the header: 0 if the length counts those,
	// -(Offset+Size) if it counts the whole frame, 2 if it leaves two of them out.
	Adjust int
	// Strip is how many bytes at the front of a frame are not part of its payload, at least 0.
	//
	// It decides how payloads are encoded. With Strip = Offset+Size zeros are written before the length and
	// the payload after it. With Strip = 0 the payload is the whole frame, and the length in it is set right on its
	// way into dst. Any other Strip drops bytes that cannot be made up again: AppendFrame returns [ErrDecodeOnly].
	Strip int
	// Max is the limit on the whole frame, header included, in bytes; at least Offset+Size. 0 means [DefaultMax].
	Max int
}

// Validate reports why these options describe no codec: a number outside the bounds given with its field, or numbers
// which taken together allow no frame at all.
func (o LengthFieldOptions) Validate() error {
	_, err := newLengthField(o.withDefaults())
	return err
}

func (o LengthFieldOptions) withDefaults() LengthFieldOptions {
	if o.Size == 0 {
		o.Size = 4
	}
	o.Max = orDefault(o.Max)
	return o
}

// LengthField returns the codec of frames with a length in their header. With Offset 1, Size 2, Adjust 1 and Strip 3:
//
//	 kind  length   flags   payload
//	+----+--------+-------+----------------+
//	| ca | 00 05  |  fe   | 68 65 6c 6c 6f |    frame "\xfehello"
//	+----+--------+-------+----------------+
//
// Its method Max returns o.Max. LengthField panics with the message of [LengthFieldOptions.Validate] if that is not nil.
func LengthField(o LengthFieldOptions) Codec { return must(newLengthField(o.withDefaults())) }

// LengthPrefix returns the codec of frames that are a big-endian length of size bytes, 1 to 8, and that many bytes of
// payload. LengthPrefix(2, 64):
//
//	+-------+----------------+-------+
//	| 00 05 | 68 65 6c 6c 6f | 00 00 |    frames "hello" and ""
//	+-------+----------------+-------+
//
// max is the limit on the whole frame, the length included, in bytes; 0 means [DefaultMax]. It is short for a
// [LengthField] with Strip = Size. LengthPrefix panics if size is outside 1..8 or max is less than size.
func LengthPrefix(size, max int) Codec {
	return must(newLengthField(LengthFieldOptions{Size: size, Strip: size, Max: orDefault(max)}))
}

// lengthField is a LengthFieldOptions with everything worked out that does not depend on the frame.
//
// A length is good if low <= length <= low+span, and then the frame is shortest + (length - low) bytes long. So one
// unsigned comparison tests both bounds, and no sum can overflow, whatever eight bytes say.
type lengthField struct {
	header   int    // bytes until the length field ends
	offset   int    // bytes until it starts
	little   bool   // its lowest byte comes first
	shift    uint   // bits by which it is shorter than 8 bytes
	strip    int    // bytes of the frame before the payload
	shortest int    // bytes of the shortest frame that is not malformed
	low      uint64 // the length in the header of such a frame
	span     uint64 // bytes by which frames may be longer

	prefix   int // bytes written before a payload: header, 0 or decodeOnly
	min, max int // bytes of the payloads that can be encoded
	limit    int // bytes of the longest frame allowed
}

const decodeOnly = -1

// newLengthField takes o literally: no zero is replaced by a default.
func newLengthField(o LengthFieldOptions) (Codec, error) {
	switch {
	case o.Size < 1 || o.Size > 8:
		return nil, fmt.Errorf("codec: length field of %d bytes, it must have 1 to 8", o.Size)
	case o.Offset < 0:
		return nil, fmt.Errorf("codec: length field at offset %d, it must be at least 0", o.Offset)
	case o.Strip < 0:
		return nil, fmt.Errorf("codec: strip of %d bytes, it must be at least 0", o.Strip)
	case o.Max < o.Size || o.Max-o.Size < o.Offset:
		return nil, fmt.Errorf("codec: max of %d bytes, it must be at least the %d of the header",
			o.Max, uint64(o.Offset)+uint64(o.Size))
	case o.Max < o.Strip:
		return nil, fmt.Errorf("codec: max of %d bytes, it must be at least the %d of strip", o.Max, o.Strip)
	}
	header := o.Offset + o.Size
	if o.Adjust > o.Max-header {
		return nil, fmt.Errorf("codec: adjust of %d makes every frame longer than the max of %d bytes", o.Adjust, o.Max)
	}
	// From here on nothing overflows: -MaxInt <= atZero <= Max.
	atZero := header + o.Adjust // what the length 0 makes the frame's length
	shortest := max(header, o.Strip, atZero)
	low := uint64(shortest) - uint64(atZero)
	shift := uint(64 - 8*o.Size)
	highest := uint64(math.MaxUint64) >> shift
	if low > highest {
		return nil, fmt.Errorf("codec: adjust of %d makes every frame shorter than the %d bytes it must have", o.Adjust, shortest)
	}
	c := &lengthField{
		header:   header,
		offset:   o.Offset,
		little:   o.LittleEndian,
		shift:    shift,
		strip:    o.Strip,
		shortest: shortest,
		low:      low,
		span:     uint64(o.Max - shortest),
		limit:    o.Max,
	}
	switch o.Strip {
	case header:
		c.prefix = header
	case 0:
		c.prefix = 0
	default:
		c.prefix = decodeOnly
	}
	c.min = shortest - c.prefix
	c.max = c.min + int(min(c.span, highest-low))
	return c, nil
}

func (c *lengthField) Decode(src []byte, _ int) (payload []byte, n, need int, err error) {
	if len(src) < c.header {
		return nil, 0, c.header, nil
	}
	length := c.load(src)
	longer := length - c.low
	if longer > c.span {
		return nil, 0, 0, c.reject(length)
	}
	n = c.shortest + int(longer)
	if len(src) < n {
		return nil, 0, n, nil
	}
	return src[c.strip:n:n], n, 0, nil
}

// reject tells what is wrong with a length outside low..low+span.
func (c *lengthField) reject(length uint64) error {
	if length < c.low {
		return &MalformedError{Length: int64(uint64(c.shortest) - (c.low - length)), Min: c.shortest}
	}
	n, carry := bits.Add64(uint64(c.shortest), length-c.low, 0)
	if carry != 0 {
		n = math.MaxUint64
	}
	return &TooLongError{Length: n, Max: c.limit}
}

func (c *lengthField) AppendFrame(dst, payload []byte) ([]byte, error) {
	if c.prefix == decodeOnly {
		return dst, ErrDecodeOnly
	}
	if len(payload) < c.min || len(payload) > c.max {
		if n := uint64(c.prefix) + uint64(len(payload)); n > uint64(c.limit) {
			return dst, &TooLongError{Length: n, Max: c.limit}
		}
		return dst, &PayloadError{Length: len(payload), Min: c.min, Max: c.max}
	}
	start, n := len(dst), c.prefix+len(payload)
	dst = slices.Grow(dst, n)[:start+n]
	frame := dst[start:]
	copy(frame[c.prefix:], payload)
	if c.prefix > 0 {
		clear(frame[:c.offset])
	}
	c.store(frame, c.low+uint64(len(payload)-c.min))
	return dst, nil
}

func (c *lengthField) Max() int { return c.limit }

// load reads the length in a header of which src holds all: eight bytes, of which those behind the field are shifted out.
func (c *lengthField) load(src []byte) uint64 {
	field := src[c.offset:]
	if len(field) < 8 {
		var b [8]byte
		copy(b[:], field)
		field = b[:]
	}
	return c.length(binary.LittleEndian.Uint64(field))
}

// length returns the length in a field that was loaded with what follows it, eight bytes in all, little-endian.
func (c *lengthField) length(field uint64) uint64 {
	if c.little {
		return field << (c.shift & 63) >> (c.shift & 63)
	}
	return bits.ReverseBytes64(field) >> (c.shift & 63)
}

// store writes the length into a header.
func (c *lengthField) store(header []byte, length uint64) {
	var b [8]byte
	if c.little {
		binary.LittleEndian.PutUint64(b[:], length)
	} else {
		binary.BigEndian.PutUint64(b[:], length<<(c.shift&63))
	}
	copy(header[c.offset:c.header], b[:])
}
