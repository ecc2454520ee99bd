// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package codec

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// sizeUnits are the suffixes of a size, and by how many bits they shift the number before them.
var sizeUnits = []struct {
	suffix string
	shift  int
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}}

// ParseSize reads a number of bytes: a whole decimal number, alone or with KiB, MiB or GiB directly after it, such as
// "65536", "64KiB" or "1MiB". Signs, blanks, fractions and any other unit are errors, as is a size beyond [math.MaxInt].
func ParseSize(s string) (int, error) {
	n, err := parseSize(s)
	if err != nil {
		return 0, fmt.Errorf("codec: size %q %w", s, err)
	}
	return n, nil
}

// parseSize is ParseSize with errors that continue a sentence.
func parseSize(s string) (int, error) {
	digits, shift := s, 0
	for _, unit := range sizeUnits {
		if number, found := strings.CutSuffix(s, unit.suffix); found {
			digits, shift = number, unit.shift
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, errors.New("is not a whole number of bytes, KiB, MiB or GiB, like 65536 or 64KiB")
	case err != nil || n > math.MaxInt>>shift:
		return 0, fmt.Errorf("exceeds %d bytes", math.MaxInt)
	}
	return int(n) << shift, nil
}
