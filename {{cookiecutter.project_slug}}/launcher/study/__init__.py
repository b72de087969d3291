"""A tuning study on this machine, as Vertex AI runs a HyperparameterTuningJob.

study      start here: `Study` runs the trials
search     optuna suggests parameters; study.journal keeps the trials; a trial's values as flags
trial      run one trial; its learning curve, which may stop it early
directory  find, lock and resume the directory of a study
results    write the leaderboard and job files of the best trials; compare seeds and folds
page       write the page of a study, with its figures
"""
