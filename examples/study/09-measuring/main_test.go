// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

package main

import (
	"regexp"
	"testing"

	"go.uber.org/goleak"

	"github.com/quartet-go/quartet/examples/study/internal/chapter"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestChapter(t *testing.T) { chapter.Test(t, run, regexp.MustCompile(`[\d.]+ µs|slow: \d+| +`)) }
