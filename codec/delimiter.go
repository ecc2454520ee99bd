// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxDelimiter is the limit on a delimiter, in bytes: it bounds what a call looks at again.
const maxDelimiter = 16

// DelimiterOptions describes frames that end where a delimiter does.
type DelimiterOptions struct {
	// Delimiters are what ends a frame, whichever ends first; at least one, each 1 to 16 bytes. Where two end together,
	// like "\r\n" and "\n", the longer one counts. One that occurs in another anywhere but at its end, as "\r" does in
	// "\r\n", is refused: whether it ends the frame would depend on bytes that may not be there yet.
	//
	// The first one is written at the end of encoded frames. A payload is a [*PayloadError] if a delimiter in it, or one
	// that its last bytes and the first bytes written after it make, would end it earlier.
	Delimiters []string
	// Keep leaves the delimiter at the end of the payload. Encoding takes a payload that has one there, and adds none.
	Keep bool
	// Max is the limit on the frame without its delimiter, in bytes, at least 0. 0 means [DefaultMax].
	Max int
}

// Validate reports why these options describe no codec: a number outside the bounds given with its field, or delimiters
// that get in each other's way.
func (o DelimiterOptions) Validate() error {
	_, err := newDelimiter(o.withDefaults())
	return err
}

func (o DelimiterOptions) withDefaults() DelimiterOptions {
	o.Max = orDefault(o.Max)
	return o
}

// Delimiter returns the codec of frames that end in a delimiter. With the delimiters "\r\n" and ";":
//
//	+-------------+----------+----+
//	| 61 62 0d 0a | 63 0d 3b | 3b |    frames "ab", "c\r" and ""
//	+-------------+----------+----+
//
// The bytes are searched once, for all delimiters at a time, and never past Max and one delimiter. A frame is too long as
// soon as no delimiter that starts within Max can follow from what is there; how long it would have been is not found
// out.
//
// Its method Max returns o.Max and the length of the longest delimiter. Delimiter panics with the message of
// [DelimiterOptions.Validate] if that is not nil.
func Delimiter(o DelimiterOptions) Codec { return must(newDelimiter(o.withDefaults())) }

// delimiter is a DelimiterOptions and what speeds up the search.
//
// As no delimiter occurs within another, the match that ends first also starts first, and a match that is still
// incomplete cannot be overtaken. So ends decide: those before the bytes seen are settled, and of those at one place the
// longest counts.
type delimiter struct {
	list  []string // the longest first
	write string   // what ends encoded frames
	keep  bool
	max   int // bytes of the payload
	limit int // bytes of the longest frame

	last   byte      // the last byte of all delimiters,
	common bool      // if they have the same,
	only   bool      // and nothing but that byte
	lasts  [256]bool // the last bytes of the delimiters

	clashes []clash
}

// A clash is a way in which a payload's last bytes and the delimiter written after it make an earlier or longer one.
type clash struct{ ending, delimiter string }

// newDelimiter takes o literally: no zero is replaced by a default.
func newDelimiter(o DelimiterOptions) (Codec, error) {
	if len(o.Delimiters) == 0 {
		return nil, errors.New("codec: no delimiters, there must be at least one")
	}
	if o.Max < 0 {
		return nil, negativeMax(o.Max)
	}
	for _, a := range o.Delimiters {
		if len(a) < 1 || len(a) > maxDelimiter {
			return nil, fmt.Errorf("codec: delimiter %q of %d bytes, it must have 1 to %d", a, len(a), maxDelimiter)
		}
		for _, b := range o.Delimiters {
			if strings.Contains(b[:max(len(b)-1, 0)], a) {
				return nil, fmt.Errorf("codec: delimiter %q occurs in %q before its end", a, b)
			}
		}
	}

	d := &delimiter{list: slices.Clone(o.Delimiters), write: o.Delimiters[0], keep: o.Keep, max: o.Max, common: true}
	slices.SortStableFunc(d.list, func(a, b string) int { return len(b) - len(a) })
	d.limit = saturate(o.Max, len(d.list[0]))
	d.last = d.write[len(d.write)-1]
	for _, delim := range d.list {
		last := delim[len(delim)-1]
		d.lasts[last] = true
		d.common = d.common && last == d.last
	}
	d.only = d.common && len(d.list[0]) == 1
	for n := 1; n <= len(d.write); n++ { // bytes of the written delimiter that end another: what ends first comes first
		for _, delim := range d.list {
			if ending, ok := strings.CutSuffix(delim, d.write[:n]); ok && ending != "" {
				d.clashes = append(d.clashes, clash{ending, delim})
			}
		}
	}
	return d, nil
}

func (d *delimiter) Decode(src []byte, seen int) (payload []byte, n, need int, err error) {
	var start, end int
	if within := src[:min(len(src), d.limit)]; !d.only {
		start, end = d.find(within, seen)
	} else if i := bytes.IndexByte(within[seen:], d.last); i >= 0 { // what find does, without its loop
		start, end = seen+i, seen+i+1
	}
	switch {
	case end == 0:
		return d.unfinished(src)
	case start > d.max:
		return nil, 0, 0, beyond(d.max)
	case d.keep:
		start = end
	}
	return src[:start:start], end, 0, nil
}

// find returns where the first delimiter of src starts and ends, given that none ends in the first seen bytes; end is 0
// if there is none.
func (d *delimiter) find(src []byte, seen int) (start, end int) {
	for end = seen; end < len(src); {
		var i int
		if d.common {
			i = bytes.IndexByte(src[end:], d.last)
		} else {
			i = slices.IndexFunc(src[end:], func(b byte) bool { return d.lasts[b] })
		}
		if i < 0 {
			break
		}
		end += i + 1
		for _, delim := range d.list { // its first byte is compared first: most candidates fail there
			if start = end - len(delim); start >= 0 && src[start] == delim[0] && string(src[start:end]) == delim {
				return start, end
			}
		}
	}
	return 0, 0
}

// unfinished returns what Decode does if no delimiter ends in src: one that starts within max may still end behind it, or
// the frame is too long.
func (d *delimiter) unfinished(src []byte) (payload []byte, n, need int, err error) {
	if len(src) <= d.max || d.begun(src) {
		return nil, 0, len(src) + 1, nil
	}
	return nil, 0, 0, beyond(d.max)
}

// begun reports whether src, longer than max, ends in the beginning of a delimiter that starts within max.
func (d *delimiter) begun(src []byte) bool {
	for start := max(len(src)-len(d.list[0])+1, 0); start <= d.max; start++ {
		for _, delim := range d.list {
			if tail := src[start:]; len(tail) < len(delim) && string(tail) == delim[:len(tail)] {
				return true
			}
		}
	}
	return false
}

func (d *delimiter) AppendFrame(dst, payload []byte) ([]byte, error) {
	start, end := d.find(payload, 0)
	length, kept := len(payload), d.keep && end > 0 && end == len(payload)
	if kept {
		length = start
	}
	switch {
	case length > d.max:
		return dst, &TooLongError{Length: uint64(length), Max: d.max}
	case kept:
		return append(dst, payload...), nil
	case d.keep && end == 0:
		return dst, &PayloadError{Length: len(payload), End: len(payload), Delimiter: d.write}
	case end > 0:
		return dst, &PayloadError{Length: len(payload), End: start, Delimiter: string(payload[start:end])}
	}
	for _, c := range d.clashes {
		if end := len(payload) - len(c.ending); end >= 0 && string(payload[end:]) == c.ending {
			return dst, &PayloadError{Length: len(payload), End: end, Delimiter: c.delimiter}
		}
	}
	dst = slices.Grow(dst, len(payload)+len(d.write))
	return append(append(dst, payload...), d.write...), nil
}

func (d *delimiter) Max() int { return d.limit }
