package sdktest_test

func answerCases() (all []conform) { return nil }
