// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"encoding/binary"
	"errors"
)

// A message of the frames and broadcast services is a 4-byte big-endian length and at most maxFrame bytes.
const (
	framePrefix = 4
	maxFrame    = 2 << 20
)

var errTooLong = errors.New("a frame is too long")

// A cutter returns how many bytes the first message in data takes, its prefix included; 0 if not even that is known yet.
type cutter func(data []byte) (int, error)

func prefixed(data []byte) (int, error) {
	if len(data) < framePrefix {
		return 0, nil
	}
	n := binary.BigEndian.Uint32(data)
	if n > maxFrame {
		return 0, errTooLong
	}
	return framePrefix + int(n), nil
}

func fixed(size int) cutter {
	return func([]byte) (int, error) { return size, nil }
}

// each calls handle with every whole message in data and returns what is left.
func (next cutter) each(data []byte, handle func(message []byte)) (rest []byte, err error) {
	for {
		n, err := next(data)
		if n == 0 || n > len(data) || err != nil {
			return data, err
		}
		handle(data[:n])
		data = data[n:]
	}
}

// cutterOf is nil for a service without messages.
func cutterOf(c config) cutter {
	switch c.service {
	case "frames", "broadcast":
		return prefixed
	case "fixed":
		return fixed(c.size)
	}
	return nil
}
